"""Networks of other libraries made Sequentials, and the other way round.

Nothing here is imported before it is asked for (`fastdnn.exchange`): each file loads its library.
"""

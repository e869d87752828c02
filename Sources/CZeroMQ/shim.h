// ZeroMQ's C interface, as the Wire module sees it.
#include <zmq.h>

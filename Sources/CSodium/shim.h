// libsodium's C interface, as the Wire module sees it.
#include <sodium.h>

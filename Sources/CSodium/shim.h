// libsodium's C interface, as the Content module sees it.
#include <sodium.h>

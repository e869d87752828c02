// The bytes of index.html, in the program.

#include "include/ServerPage.h"

static const unsigned char page[] = {
#embed "index.html"
};

const unsigned char *server_page_start(void) { return page; }

size_t server_page_size(void) { return sizeof page; }

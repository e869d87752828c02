// The bytes of index.html and openapi.json, in the program.

#include "include/ServerPage.h"

static const unsigned char page[] = {
#embed "index.html"
};

static const unsigned char description[] = {
#embed "openapi.json"
};

const unsigned char *server_page_start(void) { return page; }

size_t server_page_size(void) { return sizeof page; }

const unsigned char *server_description_start(void) { return description; }

size_t server_description_size(void) { return sizeof description; }

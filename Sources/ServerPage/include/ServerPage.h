// What the front door serves as it is: its web page, the bytes of index.html, and the description of its
// interface, those of openapi.json.
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stddef.h>

// Where the page begins, and its size.
const unsigned char *server_page_start(void);
size_t server_page_size(void);

// Where the description begins, and its size.
const unsigned char *server_description_start(void);
size_t server_description_size(void);

#endif

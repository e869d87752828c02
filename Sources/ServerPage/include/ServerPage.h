// The front door's web page, as the bytes of index.html.
#ifndef SERVER_PAGE_H
#define SERVER_PAGE_H

#include <stddef.h>

// Where it begins, and its size.
const unsigned char *server_page_start(void);
size_t server_page_size(void);

#endif

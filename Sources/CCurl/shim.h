// libcurl's C interface, as the Hub module sees it. Its setters take any type (`...`), which Swift cannot call: here is
// one for each type.
#include <curl/curl.h>

static inline CURLcode ccurl_set_number(CURL *handle, CURLoption option, long value) {
  return curl_easy_setopt(handle, option, value);
}

static inline CURLcode ccurl_set_text(CURL *handle, CURLoption option, const char *value) {
  return curl_easy_setopt(handle, option, value);
}

// Sets what is called with the bytes of an answer's body, with its header lines, and now and then meanwhile; all get
// `context`.
static inline CURLcode ccurl_set_callbacks(CURL *handle, curl_write_callback body,
                                           curl_write_callback header,
                                           curl_xferinfo_callback meanwhile, void *context) {
  CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, body);
  if (!code) code = curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
  if (!code) code = curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, header);
  if (!code) code = curl_easy_setopt(handle, CURLOPT_HEADERDATA, context);
  if (!code) code = curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, meanwhile);
  if (!code) code = curl_easy_setopt(handle, CURLOPT_XFERINFODATA, context);
  return code;
}

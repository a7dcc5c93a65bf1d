/* Makes every flush to disk take longer, as on a network disk or with a synchronous standby: LD_PRELOAD it into a server.
   FLUSH_US: microseconds that are added. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd) {
    static int (*real)(int);
    static long us = -1;
    if (us < 0) {
        const char *text = getenv("FLUSH_US");
        us = text ? atol(text) : 0;
        real = dlsym(RTLD_NEXT, "fdatasync");
    }
    if (us) usleep(us);
    return real(fd);
}

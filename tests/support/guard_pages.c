/* Memory for NumPy's arrays that ends where an unreadable page begins.
 *
 * Reading or writing past an array's end is a fault at once; what is written before its start is
 * found when it is freed, and ends the process. Fresh memory is filled with 0xAB.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, HEAD = 64, FILL = 0x5C };

typedef struct {
    void *context;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} Allocator;

typedef struct {
    char name[127];
    uint8_t version;
    Allocator allocator;
} Handler; /* PyDataMem_Handler of NumPy's C API */

/* pages: header | data, at their end | unreadable. The header has the pages and bytes of data. */
static void *take(void *context, size_t size)
{
    (void)context;
    size_t bytes = size ? size : 1, pages = (bytes + PAGE - 1) / PAGE;
    char *base = mmap(NULL, (pages + 2) * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    char *end = base + (pages + 1) * PAGE, *data = end - bytes;
    mprotect(end, PAGE, PROT_NONE);
    ((size_t *)base)[0] = pages;
    ((size_t *)base)[1] = bytes;
    memset(base + HEAD, FILL, PAGE - HEAD);
    memset(base + PAGE, FILL, (size_t)(data - base) - PAGE);
    memset(data, 0xAB, bytes);
    return data;
}

/* Data begins in the first data page: pages is the least number that holds it. */
static char *base_of(void *data)
{
    return (char *)((uintptr_t)data & ~(uintptr_t)(PAGE - 1)) - PAGE;
}

static void give(void *context, void *data, size_t size)
{
    (void)context, (void)size;
    if (!data)
        return;
    char *base = base_of(data);
    for (char *at = base + HEAD; at < (char *)data; at++)
        if (*at != FILL) {
            fprintf(stderr, "written %ld bytes before an array of %zu bytes\n",
                    (long)((char *)data - at), ((size_t *)base)[1]);
            abort();
        }
    munmap(base, (((size_t *)base)[0] + 2) * PAGE);
}

static void *take_zeros(void *context, size_t count, size_t each)
{
    void *data = take(context, count * each);
    return data ? memset(data, 0, count * each) : NULL;
}

static void *take_again(void *context, void *data, size_t size)
{
    void *made = take(context, size);
    if (made && data) {
        size_t before = ((size_t *)base_of(data))[1];
        memcpy(made, data, before < size ? before : size);
        give(context, data, 0);
    }
    return made;
}

Handler handler = {"guard_pages", 1, {NULL, take, take_zeros, take_again, give}};

/* journal_send FILE: the entries of FILE to journald by sd_journal_sendv, as fast as it takes them.
 *
 * FILE: for each entry the number of its fields, for each field its length (both 32 bits, of
 * this machine's order) and its bytes. All is read and laid out before the first is sent;
 * then the time on CLOCK_MONOTONIC is printed.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>

struct entry {
    struct iovec *fields;
    int count;
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file)
        fail("journal_send FILE");
    struct entry *entries = NULL;
    size_t count = 0, room = 0;
    uint32_t number;
    while (fread(&number, sizeof number, 1, file) == 1) {
        if (count == room) {
            room = room ? 2 * room : 4096;
            entries = realloc(entries, room * sizeof *entries);
            if (!entries)
                fail("realloc");
        }
        struct entry *each = &entries[count++];
        each->count = (int)number;
        each->fields = calloc(number, sizeof *each->fields);
        if (!each->fields)
            fail("calloc");
        for (uint32_t at = 0; at < number; at++) {
            uint32_t length;
            if (fread(&length, sizeof length, 1, file) != 1)
                fail("fread");
            each->fields[at].iov_base = malloc(length);
            each->fields[at].iov_len = length;
            if (!each->fields[at].iov_base
                || fread(each->fields[at].iov_base, 1, length, file) != length)
                fail("fread");
        }
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lld.%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    fflush(stdout);
    for (size_t at = 0; at < count; at++)
        if (sd_journal_sendv(entries[at].fields, entries[at].count) < 0)
            fail("sd_journal_sendv");
    return 0;
}

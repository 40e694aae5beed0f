/* The command that every contender runs: it costs next to nothing and stamps its own birth.
 *
 *     child BIRTHS NAME                  append "NAME PID NANOSECONDS\n" (CLOCK_MONOTONIC) to the
 *                                        file BIRTHS, then sleep until a signal ends it
 *     child BIRTHS NAME flood LINES      as above; after a SIGUSR1 append "NAME.flood ...", write
 *                                        LINES numbered lines of 100 bytes to stdout, then sleep
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 100, LINES_A_WRITE = 640 };

static void stamp(const char *births, const char *name, const char *suffix) {
    struct timespec now;
    char record[512];
    int file = open(births, O_WRONLY | O_APPEND | O_CLOEXEC);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int size = snprintf(record, sizeof record, "%s%s %d %lld\n", name, suffix, (int)getpid(),
                        now.tv_sec * 1000000000LL + now.tv_nsec);
    if (file < 0 || write(file, record, size) != size) _exit(111);
    close(file);
}

static void write_all(const char *from, long left) {
    while (left > 0) {
        long written = write(STDOUT_FILENO, from, left);
        if (written < 0) _exit(112);
        from += written;
        left -= written;
    }
}

/* A line is its number in 12 digits, a space, 86 times "x" and a newline. */
static void flood(long lines) {
    static char buffer[LINES_A_WRITE * LINE_BYTES + 1];
    memset(buffer, 'x', sizeof buffer);
    for (long next = 0; next < lines;) {
        long in_buffer = 0;
        for (; in_buffer < LINES_A_WRITE && next < lines; in_buffer++, next++) {
            char *line = buffer + in_buffer * LINE_BYTES;
            long number = next;
            for (int digit = 11; digit >= 0; digit--, number /= 10) line[digit] = '0' + number % 10;
            line[12] = ' ';
            line[LINE_BYTES - 1] = '\n';
        }
        write_all(buffer, in_buffer * LINE_BYTES);
    }
}

int main(int count, char **arguments) {
    if (count < 3) return 100;
    int floods = count == 5 && strcmp(arguments[3], "flood") == 0;
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    if (floods) sigprocmask(SIG_BLOCK, &go, NULL);
    stamp(arguments[1], arguments[2], "");
    if (floods) {
        int number;
        sigwait(&go, &number);
        stamp(arguments[1], arguments[2], ".flood");
        flood(atol(arguments[4]));
    }
    for (;;) pause();
}

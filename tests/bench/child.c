/* The command that every contender runs: it costs next to nothing and stamps its own birth.
 *
 *     child BIRTHS NAME [MODE ...]     append "NAME PID NANOSECONDS\n" (CLOCK_MONOTONIC) to the
 *                                      file BIRTHS, do what MODE says, then sleep until a signal
 *                                      ends it. The modes:
 *
 *     flood LINES          after a SIGUSR1 stamp "NAME.go", and write LINES numbered lines of 100
 *                          bytes to stdout, as fast as they are taken
 *     pace LINES PER_S     the same, so many lines in a second, in portions of 10 ms
 *     daemonize            have a grandchild in a session of its own, which stamps "NAME.grand"
 *     exit                 exit with 1 at once
 *     changed              nothing else: another command line
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 100, LINES_A_WRITE = 640, PORTIONS_A_SECOND = 100 };

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
static void write_lines(long first, long count) {
    static char buffer[LINES_A_WRITE * LINE_BYTES + 1];
    memset(buffer, 'x', sizeof buffer);
    for (long next = first; next < first + count;) {
        long in_buffer = 0;
        for (; in_buffer < LINES_A_WRITE && next < first + count; in_buffer++, next++) {
            char *line = buffer + in_buffer * LINE_BYTES;
            long number = next;
            for (int digit = 11; digit >= 0; digit--, number /= 10) line[digit] = '0' + number % 10;
            line[12] = ' ';
            line[LINE_BYTES - 1] = '\n';
        }
        write_all(buffer, in_buffer * LINE_BYTES);
    }
}

/* By absolute times: who is held up catches up, and so writes as much as all others. */
static void pace(long lines, long per_s) {
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    long portion = per_s / PORTIONS_A_SECOND;
    for (long next = 0; next < lines; next += portion) {
        write_lines(next, next + portion < lines ? portion : lines - next);
        due.tv_nsec += 1000000000L / PORTIONS_A_SECOND;
        if (due.tv_nsec >= 1000000000L) due.tv_sec++, due.tv_nsec -= 1000000000L;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
    }
}

static void daemonize(const char *births, const char *name) {
    pid_t middle = fork();
    if (middle < 0) _exit(113);
    if (middle > 0) {
        waitpid(middle, NULL, 0);
        return;
    }
    setsid();
    if (fork() != 0) _exit(0);
    stamp(births, name, ".grand");
    for (;;) pause();
}

int main(int count, char **words) {
    if (count < 3) return 100;
    const char *births = words[1], *name = words[2], *mode = count > 3 ? words[3] : "";
    int floods = !strcmp(mode, "flood") && count == 5, paces = !strcmp(mode, "pace") && count == 6;
    sigset_t go;
    sigemptyset(&go);
    sigaddset(&go, SIGUSR1);
    if (floods || paces) sigprocmask(SIG_BLOCK, &go, NULL);
    stamp(births, name, "");
    if (!strcmp(mode, "exit")) return 1;
    if (!strcmp(mode, "daemonize")) daemonize(births, name);
    if (floods || paces) {
        int number;
        sigwait(&go, &number);
        stamp(births, name, ".go");
        if (floods) write_lines(0, atol(words[4]));
        if (paces) pace(atol(words[4]), atol(words[5]));
    }
    for (;;) pause();
}

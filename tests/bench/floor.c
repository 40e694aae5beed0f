/* The least that keeping commands alive can cost: what every contender is compared with.
 *
 *     floor keep COUNT COMMAND...    start COMMAND b0000, COMMAND b0001 ... by vfork and exec; wait,
 *                                    and start each that ends again at once
 *     floor copy FILE COMMAND...     start COMMAND with its stdout in a pipe, and copy that to FILE
 *                                    as it comes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 65536, WORDS = 64, CHUNK_BYTES = 65536 };

static pid_t pids[MOST];
static char *words[WORDS + 2];

static pid_t start(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        execv(words[0], words);
        _exit(127);
    }
    if (pid < 0) exit(113);
    return pid;
}

static void start_numbered(int index, int last_word) {
    char name[16];
    snprintf(name, sizeof name, "b%04d", index);
    words[last_word] = name;
    pids[index] = start();
}

static int keep(int count, int last_word) {
    for (int index = 0; index < count; index++) start_numbered(index, last_word);
    for (pid_t pid; (pid = waitpid(-1, NULL, 0)) > 0;)
        for (int index = 0; index < count; index++)
            if (pids[index] == pid) {
                start_numbered(index, last_word);
                break;
            }
    return 114;
}

static int copy(const char *path) {
    static char chunk[CHUNK_BYTES];
    int ends[2], file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || pipe2(ends, O_CLOEXEC)) return 115;
    int own = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(ends[1], STDOUT_FILENO);
    start();
    dup2(own, STDOUT_FILENO);
    close(ends[1]);
    for (long size; (size = read(ends[0], chunk, sizeof chunk)) > 0;)
        if (write(file, chunk, size) != size) return 116;
    return 0;
}

int main(int count, char **arguments) {
    if (count < 4 || count - 3 > WORDS) return 100;
    memcpy(words, arguments + 3, (count - 3) * sizeof *words);
    if (strcmp(arguments[1], "copy") == 0) return copy(arguments[2]);
    int children = atoi(arguments[2]);
    return children > MOST ? 100 : keep(children, count - 3);
}

/* The least that keeping commands alive can cost: what every contender is compared with.
 *
 *     floor keep LIST SOCKET AGAIN_MS
 *         start each command of LIST by vfork and exec, and start it again AGAIN_MS after its end;
 *         whoever connects to SOCKET gets a line for each; on SIGHUP read LIST again and start
 *         what is new or changed; on SIGTERM end all of them, and itself when they are gone
 *     floor ask SOCKET
 *         print what is said there
 *
 * A line of LIST is NAME, LOG and the words of the command, with tabs between them. The output of a
 * command with a LOG other than "-" goes through a pipe and is copied to that file as it comes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, WORDS = 64, CHUNK_BYTES = 65536 };

struct command {
    char *line, *name, *log, *words[WORDS + 1];
    pid_t pid; /* 0: it does not run */
    int reader, file;
    long long due_ms;
};

static struct command all[MOST];
static int count, again_ms, is_stopping;
static sigset_t ours, before;

static void fail(const char *what) {
    perror(what);
    exit(111);
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void start(struct command *it) {
    int ends[2] = {-1, -1};
    if (*it->log != '-') {
        if (it->file < 0) it->file = open(it->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (it->file < 0 || pipe2(ends, O_CLOEXEC)) fail(it->log);
    }
    pid_t pid = vfork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (ends[1] >= 0) dup2(ends[1], STDOUT_FILENO);
        execv(it->words[0], it->words);
        _exit(127);
    }
    if (pid < 0) fail("vfork");
    it->pid = pid;
    if (ends[1] < 0) return;
    close(ends[1]);
    if (it->reader >= 0) close(it->reader);
    it->reader = ends[0];
}

/* Returns whether there is one more line. */
static int read_command(FILE *list, struct command *it) {
    size_t room = 0;
    memset(it, 0, sizeof *it);
    it->reader = it->file = -1;
    if (getline(&it->line, &room, list) <= 0) return 0;
    char *rest = strdup(it->line);
    rest[strcspn(rest, "\n")] = 0;
    it->name = strsep(&rest, "\t");
    it->log = strsep(&rest, "\t");
    for (int at = 0; rest && at < WORDS; at++) it->words[at] = strsep(&rest, "\t");
    if (!it->words[0]) fail("LIST");
    return 1;
}

/* What stands in the list already is where it was, as nearly always, or searched for. */
static struct command *known(const char *name, int place, int number) {
    for (int at = 0; at < number; at++) {
        struct command *it = &all[(place + at) % number];
        if (!strcmp(it->name, name)) return it;
    }
    return NULL;
}

static void read_list(const char *path) {
    static struct command fresh[MOST];
    FILE *list = fopen(path, "re");
    if (!list) fail(path);
    int number = 0;
    for (; number < MOST && read_command(list, &fresh[number]); number++) {
        struct command *old = known(fresh[number].name, number, count);
        if (!old) continue;
        fresh[number].pid = old->pid;
        fresh[number].reader = old->reader;
        fresh[number].file = old->file;
        if (strcmp(old->line, fresh[number].line)) kill(old->pid, SIGTERM);
    }
    fclose(list);
    count = number;
    memcpy(all, fresh, sizeof *all * number);
}

static void reap(void) {
    for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
        for (int at = 0; at < count; at++)
            if (all[at].pid == pid) {
                all[at].pid = 0;
                all[at].due_ms = again_ms ? now_ms() + again_ms : 0;
                break;
            }
}

/* Starts what is due; returns how long nothing is, in ms, or -1. */
static int start_due(void) {
    long long nearest_ms = -1, left_ms;
    for (int at = 0; at < count; at++) {
        if (all[at].pid) continue;
        left_ms = all[at].due_ms ? all[at].due_ms - now_ms() : 0;
        if (left_ms <= 0)
            start(&all[at]);
        else if (nearest_ms < 0 || left_ms < nearest_ms)
            nearest_ms = left_ms;
    }
    return (int)nearest_ms;
}

static void copy(struct command *it) {
    static char chunk[CHUNK_BYTES];
    long size = read(it->reader, chunk, sizeof chunk);
    if (size > 0 && write(it->file, chunk, size) != size) fail(it->log);
    if (size > 0) return;
    close(it->reader);
    it->reader = -1;
}

static void answer(int listener) {
    static char text[MOST * 64];
    int size = 0, client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    for (int at = 0; at < count; at++)
        size += snprintf(text + size, 64, "%.40s %d\n", all[at].name, (int)all[at].pid);
    if (client < 0 || send(client, text, size, MSG_NOSIGNAL) < 0) perror("answer");
    close(client);
}

static void take_signal(int signals, const char *list) {
    struct signalfd_siginfo taken;
    if (read(signals, &taken, sizeof taken) != sizeof taken) fail("signalfd");
    if (taken.ssi_signo == SIGHUP) read_list(list);
    if (taken.ssi_signo != SIGTERM) return;
    is_stopping = 1;
    for (int at = 0; at < count; at++)
        if (all[at].pid) kill(all[at].pid, SIGTERM);
}

static int is_over(void) {
    for (int at = 0; is_stopping && at < count; at++)
        if (all[at].pid) return 0;
    return is_stopping;
}

static int open_socket(const char *path, int listens) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const struct sockaddr *to = (const struct sockaddr *)&address;
    int failed = listens ? bind(made, to, sizeof address) || listen(made, 64)
                         : connect(made, to, sizeof address);
    if (made < 0 || failed) fail(path);
    return made;
}

static int keep(const char *list, const char *path) {
    static struct pollfd watched[MOST + 2];
    static int owners[MOST + 2];
    sigemptyset(&ours);
    sigaddset(&ours, SIGHUP);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ours, &before);
    watched[0].fd = signalfd(-1, &ours, SFD_CLOEXEC);
    watched[1].fd = open_socket(path, 1);
    watched[0].events = watched[1].events = POLLIN;
    read_list(list);
    for (;;) {
        reap();
        if (is_over()) return 0;
        int wait_ms = is_stopping ? -1 : start_due(), number = 2;
        for (int at = 0; at < count; at++)
            if (all[at].reader >= 0) {
                watched[number] = (struct pollfd){.fd = all[at].reader, .events = POLLIN};
                owners[number++] = at;
            }
        if (poll(watched, number, wait_ms) < 0) fail("poll");
        for (int at = 2; at < number; at++)
            if (watched[at].revents) copy(&all[owners[at]]);
        if (watched[1].revents) answer(watched[1].fd);
        if (watched[0].revents) take_signal(watched[0].fd, list);
    }
}

static int ask(const char *path) {
    static char chunk[CHUNK_BYTES];
    int asked = open_socket(path, 0);
    for (long size; (size = read(asked, chunk, sizeof chunk)) > 0;)
        if (write(STDOUT_FILENO, chunk, size) != size) return 112;
    return 0;
}

int main(int given, char **words) {
    if (given == 3 && !strcmp(words[1], "ask")) return ask(words[2]);
    if (given != 5 || strcmp(words[1], "keep")) return 100;
    again_ms = atoi(words[4]);
    return keep(words[2], words[3]);
}

/* load: runs one script of sends and expects over many connections at once, and counts.
 *
 * Purpose: a load generator that costs much less than any mail server, for any line protocol.
 * Usage:   load HOST PORT CONNECTIONS LOOPS SCRIPT [SECONDS [ENOUGH]]
 *
 * The script, one step a line (\r \n \t \\ \xHH are understood; ${c} is the connection's number from 0, ${c+16} that plus
 * 16, ${n} a number that is different for each run of the loop):
 *   send TEXT            queue octets
 *   file PATH            queue the octets of a file
 *   expect PREFIX        send what is queued, read lines until one begins with PREFIX; a line that begins with a
 *                        "fail" prefix before that is counted as an error and ends the connection
 *   octets N             send what is queued, read exactly N octets
 *   fail PREFIX          declares a prefix that means failure (before the steps)
 *   loop / end           the steps between are run LOOPS times in all, shared by the connections
 *   reconnect            close and connect again (for sessions that log in each time)
 * Output: one line of JSON: loops, errors, seconds, rate, latency percentiles of a loop in milliseconds, CPU seconds.
 * Bounds: begins no loop after ENOUGH seconds (default: no such limit), stops after SECONDS (default 120) whatever happens.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum kind { SEND, EXPECT, OCTETS, LOOP, END, RECONNECT };
struct step { enum kind kind; char *text; size_t length; int variables; };
struct connection {
    int fd, number, step, connecting, done, running;
    char *in; size_t in_length, in_size;
    char *out; size_t out_length, out_sent, out_size;
    size_t skip; double loop_started; long loop_number; int writing;
};

static struct step *steps; static int step_count, loop_at = -1;
static char *fails[16]; static size_t fail_lengths[16]; static int fail_count;
static long loops_wanted, loops_begun, loops_done, errors;
static double *latencies, started, enough = 1e9; static struct sockaddr_in where; static int poller, active;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *why) { fprintf(stderr, "load: %s: %s\n", why, strerror(errno)); exit(2); }
static void *need(void *p) { if (!p) die("memory"); return p; }

static size_t unescape(char *text) {
    char *to = text;
    for (char *from = text; *from; from++) {
        if (*from != '\\') { *to++ = *from; continue; }
        switch (*++from) {
        case 'r': *to++ = '\r'; break;
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case 'x': { char hex[3] = { from[1], from[1] ? from[2] : 0, 0 }; *to++ = (char)strtol(hex, NULL, 16); from += 2; break; }
        case 0: from--; break;
        default: *to++ = *from;
        }
    }
    return (size_t)(to - text);
}

static void add_step(enum kind kind, const char *text, size_t length, int variables) {
    steps = need(realloc(steps, sizeof *steps * (size_t)(step_count + 1)));
    struct step *step = &steps[step_count++];
    step->kind = kind; step->length = length; step->variables = variables;
    step->text = need(malloc(length + 1)); memcpy(step->text, text, length); step->text[length] = 0;
}

static void add_file(const char *path) {
    FILE *file = fopen(path, "rb"); if (!file) die(path);
    fseek(file, 0, SEEK_END); long size = ftell(file); rewind(file);
    char *octets = need(malloc((size_t)size + 1));
    if (fread(octets, 1, (size_t)size, file) != (size_t)size) die(path);
    fclose(file); octets[size] = 0;
    add_step(SEND, octets, (size_t)size, strstr(octets, "${") != NULL); free(octets);
}

static void read_script(const char *path) {
    FILE *file = fopen(path, "r"); if (!file) die(path);
    char *line = NULL; size_t size = 0; ssize_t got;
    while ((got = getline(&line, &size, file)) >= 0) {
        if (got && line[got - 1] == '\n') line[--got] = 0;
        if (!got || line[0] == '#') continue;
        char *text = strchr(line, ' '); if (text) *text++ = 0; else text = line + got;
        if (!strcmp(line, "file")) { add_file(text); continue; }
        int variables = strstr(text, "${") != NULL; size_t length = unescape(text);
        if (!strcmp(line, "send")) add_step(SEND, text, length, variables);
        else if (!strcmp(line, "expect")) add_step(EXPECT, text, length, 0);
        else if (!strcmp(line, "octets")) add_step(OCTETS, text, length, 0);
        else if (!strcmp(line, "reconnect")) add_step(RECONNECT, "", 0, 0);
        else if (!strcmp(line, "end")) add_step(END, "", 0, 0);
        else if (!strcmp(line, "loop")) { loop_at = step_count; add_step(LOOP, "", 0, 0); }
        else if (!strcmp(line, "fail") && fail_count < 16) { fails[fail_count] = strdup(text); fail_lengths[fail_count++] = length; }
        else { fprintf(stderr, "load: unknown step %s\n", line); exit(2); }
    }
    free(line); fclose(file);
}

static void append(struct connection *c, const char *octets, size_t length) {
    if (c->out_length + length > c->out_size) {
        c->out_size = (c->out_length + length) * 2; c->out = need(realloc(c->out, c->out_size));
    }
    memcpy(c->out + c->out_length, octets, length); c->out_length += length;
}

static void append_variables(struct connection *c, const struct step *step) {
    const char *at = step->text, *end = step->text + step->length;
    while (at < end) {
        const char *mark = memmem(at, (size_t)(end - at), "${", 2);
        if (!mark || mark + 3 >= end) { append(c, at, (size_t)(end - at)); return; }
        append(c, at, (size_t)(mark - at));
        long plus = mark[3] == '+' ? atol(mark + 4) : 0;
        char number[24]; int length = snprintf(number, sizeof number, "%ld", plus + (mark[2] == 'c' ? (long)c->number : c->loop_number));
        append(c, number, (size_t)length);
        const char *close = memchr(mark, '}', (size_t)(end - mark)); at = close ? close + 1 : end;
    }
}

static void watch(struct connection *c, int add) {
    struct epoll_event event = { .events = EPOLLIN | (c->writing || c->connecting ? EPOLLOUT : 0), .data.ptr = c };
    if (epoll_ctl(poller, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

static void dial(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); if (c->fd < 0) die("socket");
    int one = 1; setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* A reset instead of TIME_WAIT: many short sessions would use up the local ports. */
    struct linger linger = { 1, 0 }; setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (connect(c->fd, (struct sockaddr *)&where, sizeof where) && errno != EINPROGRESS) die("connect");
    c->connecting = 1; c->in_length = c->out_length = c->out_sent = 0; c->writing = 0; watch(c, 1);
}

static void finish(struct connection *c, int failed) {
    if (failed) errors++;
    if (!c->done) { c->done = 1; active--; close(c->fd); }
}

static void push(struct connection *c) {
    while (c->out_sent < c->out_length) {
        ssize_t n = send(c->fd, c->out + c->out_sent, c->out_length - c->out_sent, MSG_NOSIGNAL);
        if (n < 0) { if (errno == EAGAIN) break; finish(c, 1); return; }
        c->out_sent += (size_t)n;
    }
    int writing = c->out_sent < c->out_length;
    if (!writing) c->out_length = c->out_sent = 0;
    if (writing != c->writing) { c->writing = writing; watch(c, 0); }
}

/* 1: satisfied, 0: more input is needed, -1: failed */
static int take(struct connection *c, const struct step *step) {
    if (step->kind == OCTETS) {
        size_t wanted = (size_t)atol(step->text);
        if (c->in_length < wanted) return 0;
        memmove(c->in, c->in + wanted, c->in_length -= wanted); return 1;
    }
    size_t at = 0; int result = 0;
    while (!result) {
        char *end = memmem(c->in + at, c->in_length - at, "\r\n", 2);
        if (!end) break;
        size_t length = (size_t)(end - (c->in + at));
        if (length >= step->length && !memcmp(c->in + at, step->text, step->length)) result = 1;
        for (int f = 0; !result && f < fail_count; f++)
            if (length >= fail_lengths[f] && !memcmp(c->in + at, fails[f], fail_lengths[f])) {
                fprintf(stderr, "load: %.*s\n", (int)(length > 200 ? 200 : length), c->in + at); result = -1;
            }
        at += length + 2;
    }
    memmove(c->in, c->in + at, c->in_length -= at);
    return result;
}

/* Part of a reply has come and the rest may wait for our acknowledgement (Nagle's algorithm on the other side): the
 * delay of 40 ms would measure the kernel. Servers that write a reply at once never come here. */
static void acknowledge(const struct connection *c) {
    int one = 1; setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

static void run(struct connection *c) {
    int progress = 0;
    while (!c->done) {
        if (c->step >= step_count) { if (c->out_length) push(c); finish(c, 0); return; }
        struct step *step = &steps[c->step];
        switch (step->kind) {
        case SEND: if (step->variables) append_variables(c, step); else append(c, step->text, step->length); break;
        case LOOP:
            c->loop_started = now();
            if (c->loop_started - started > enough) loops_wanted = loops_begun;
            if (loops_begun >= loops_wanted) { c->loop_started = 0; while (steps[c->step].kind != END) c->step++; break; }
            c->loop_number = loops_begun++; break;
        case END:
            if (c->loop_started > 0) { latencies[loops_done++] = now() - c->loop_started; c->loop_started = 0; }
            if (loops_begun < loops_wanted) { c->step = loop_at; continue; }
            break;
        case RECONNECT: close(c->fd); c->step++; dial(c); return;
        default:
            if (c->out_length > c->out_sent) { push(c); if (c->done) return; }
            switch (take(c, step)) { case 0: if (!progress) acknowledge(c); return; case -1: finish(c, 1); return; }
        }
        c->step++; progress = 1;
    }
}

static void readable(struct connection *c) {
    for (;;) {
        if (c->in_length == c->in_size) { c->in_size = c->in_size ? c->in_size * 2 : 65536; c->in = need(realloc(c->in, c->in_size)); }
        ssize_t n = recv(c->fd, c->in + c->in_length, c->in_size - c->in_length, 0);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) { finish(c, c->step < step_count); return; }
        c->in_length += (size_t)n;
        if (c->in_length < c->in_size) break;
    }
    run(c);
}

static int by_value(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return x < y ? -1 : x > y; }

int main(int argc, char **argv) {
    if (argc < 6) { fprintf(stderr, "usage: load HOST PORT CONNECTIONS LOOPS SCRIPT [SECONDS [ENOUGH]]\n"); return 2; }
    int count = atoi(argv[3]); loops_wanted = atol(argv[4]); read_script(argv[5]);
    double limit = argc > 6 ? atof(argv[6]) : 120; if (argc > 7) enough = atof(argv[7]);
    where.sin_family = AF_INET; where.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &where.sin_addr) != 1) die("address");
    latencies = need(calloc((size_t)loops_wanted + 1, sizeof *latencies));
    poller = epoll_create1(0); if (poller < 0) die("epoll");
    struct connection *all = need(calloc((size_t)count, sizeof *all));
    started = now();
    for (active = 0; active < count; active++) { all[active].number = active; dial(&all[active]); }
    struct epoll_event events[256];
    while (active > 0 && now() - started < limit) {
        int n = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->done) continue;
            if (c->connecting) {
                int error = 0; socklen_t length = sizeof error; getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
                if (error) { errno = error; die("connect"); }
                if (!(events[i].events & (EPOLLOUT | EPOLLIN))) continue;
                c->connecting = 0; watch(c, 0);
            }
            if (c->writing && events[i].events & EPOLLOUT) push(c);
            if (!c->done && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
    }
    double seconds = now() - started; struct rusage usage; getrusage(RUSAGE_SELF, &usage);
    qsort(latencies, (size_t)loops_done, sizeof *latencies, by_value);
    double p50 = loops_done ? latencies[loops_done / 2] : 0, p99 = loops_done ? latencies[loops_done * 99 / 100] : 0;
    printf("{\"loops\": %ld, \"errors\": %ld, \"unfinished\": %d, \"seconds\": %.4f, \"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"client_cpu\": %.3f}\n",
           loops_done, errors, active, seconds, loops_done / seconds, p50 * 1e3, p99 * 1e3,
           usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6);
    return errors || active ? 1 : 0;
}

/* tlsload: a client of TLS servers that costs little: handshakes, bulk reads, and thousands of IMAP sessions that idle.
 *
 * Usage:  tlsload handshakes PORT CONNECTIONS COUNT RESUME     connect, shake hands, GET /, read to the end; COUNT times
 *         tlsload bulk PORT CONNECTIONS COUNT                  the same with GET /bulk; counts octets
 *         tlsload idle PORT CONNECTIONS TLS DEPTH NAMES        LOGIN (DEPTH 1), SELECT INBOX (2), IDLE (3) on every connection;
 *                                                              logins come from the file NAMES, line N for connection N:
 *                                                              "user password", begun again behind its end
 * Output: JSON in one line. "idle" says it when all are there, waits for a line or the end of stdin, and after a line until every
 *         connection was told EXISTS: then the seconds (CLOCK_MONOTONIC) of each, in order of connection.
 * Bounds: stops after 120 seconds without anything happening. TLS 1.3, server certificates are not verified (loopback only).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64, LINE = 256, EVENTS = 256, PATIENCE_MS = 120000 };
enum stage { CONNECTING, SHAKING, TALKING, THERE, TOLD };
struct connection { int fd, number, step, kept; enum stage stage; SSL *ssl; double told; char line[LINE]; };

static SSL_CTX *context; static SSL_SESSION *ticket;
static struct sockaddr_in where; static int poller, tls = 1, resume, idling, depth;
static long wanted, begun, finished, octets, resumed; static const char *request;
static char **users; static int user_count; static char buffer[1 << 17];

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *why) { fprintf(stderr, "tlsload: %s: %s\n", why, strerror(errno)); exit(2); }

static int keep_ticket(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    if (!resume || ticket) return 0;
    ticket = session;
    return 1;
}

static void begin(struct connection *c) {
    int one = 1;
    struct epoll_event event = { .events = EPOLLOUT, .data.ptr = c };
    begun++;
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->stage = CONNECTING; c->step = 0; c->kept = 0;
    if (connect(c->fd, (struct sockaddr *)&where, sizeof where) && errno != EINPROGRESS) die("connect");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

static void listen_for(struct connection *c, unsigned events) {
    struct epoll_event event = { .events = events, .data.ptr = c };
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

static void say(struct connection *c, const char *text) {
    int length = strlen(text);
    if ((tls ? SSL_write(c->ssl, text, length) : (int)write(c->fd, text, length)) != length) die("write");
}

static void end(struct connection *c) {
    finished++;
    if (c->ssl) {
        resumed += SSL_session_reused(c->ssl);
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    if (begun < wanted) begin(c);
}

/* A line of an IMAP server: greeting, tagged replies, the continuation of IDLE, EXISTS. */
static void imap_line(struct connection *c, struct connection *all) {
    static const char *tags[] = { "* OK", "a OK", "b OK", "+ " };
    char command[LINE];
    if (c->stage == THERE) {
        if (strstr(c->line, " EXISTS")) { c->told = now(); c->stage = TOLD; finished++; }
        return;
    }
    if (!strncmp(c->line, "* BYE", 5) || (c->line[0] != '*' && c->line[0] != '+' && strncmp(c->line + 1, " OK", 3))) {
        fprintf(stderr, "tlsload: connection %d was told: %s\n", c->number, c->line);
        exit(2);
    }
    if (c->step > 3 || strncmp(c->line, tags[c->step], strlen(tags[c->step]))) return;
    if (c->step == depth) {
        c->stage = THERE;
        finished++;
        if (begun < wanted) begin(&all[begun]);
        return;
    }
    switch (c->step++) {
    case 0: snprintf(command, sizeof command, "a LOGIN %s\r\n", users[c->number % user_count]); break;
    case 1: strcpy(command, "b SELECT INBOX\r\n"); break;
    default: strcpy(command, "c IDLE\r\n");
    }
    say(c, command);
}

static void take(struct connection *c, int length, struct connection *all) {
    for (int i = 0; i < length; i++) {
        if (buffer[i] != '\n') {
            if (c->kept < LINE - 1) c->line[c->kept++] = buffer[i];
            continue;
        }
        c->line[c->kept] = 0;
        c->kept = 0;
        imap_line(c, all);
    }
}

static void read_all(struct connection *c, struct connection *all) {
    for (;;) {
        int got = tls ? SSL_read(c->ssl, buffer, sizeof buffer) : (int)read(c->fd, buffer, sizeof buffer);
        if (got > 0) {
            octets += got;
            if (idling) take(c, got, all);
            continue;
        }
        if (got < 0 && (tls ? SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ : errno == EAGAIN)) return;
        if (idling) die("the server closed a connection");
        end(c);
        return;
    }
}

static void happened(struct connection *c, struct connection *all) {
    if (c->stage == CONNECTING) {
        int error = 0; socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { errno = error; die("connect"); }
        c->stage = tls ? SHAKING : TALKING;
        listen_for(c, EPOLLIN);
        if (!tls) return;
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
        if (resume && ticket) {
            /* OpenSSL takes a ticket for spent once the server has sent another: each connection has a copy. */
            SSL_SESSION *copy = SSL_SESSION_dup(ticket);
            SSL_set_session(c->ssl, copy);
            SSL_SESSION_free(copy);
        }
    }
    if (c->stage == SHAKING) {
        int done = SSL_do_handshake(c->ssl);
        if (done != 1) {
            if (SSL_get_error(c->ssl, done) == SSL_ERROR_WANT_READ) return;
            die("handshake");
        }
        c->stage = TALKING;
        if (request) say(c, request);
    }
    read_all(c, all);
}

static void work_until(long count, struct connection *all) {
    struct epoll_event events[EVENTS];
    while (finished < count) {
        int ready = epoll_wait(poller, events, EVENTS, PATIENCE_MS);
        if (ready <= 0) { fprintf(stderr, "tlsload: %ld of %ld, then silence\n", finished, count); exit(3); }
        for (int i = 0; i < ready; i++) happened(events[i].data.ptr, all);
    }
}

static void read_names(const char *path) {
    char line[LINE];
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        users = realloc(users, (user_count + 1) * sizeof *users);
        users[user_count++] = strdup(line);
    }
    fclose(file);
    if (!user_count) die("no names");
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (count < 5) { fprintf(stderr, "usage: see the source\n"); return 64; }
    int port = atoi(words[2]), connections = atoi(words[3]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit); limit.rlim_cur = limit.rlim_max; setrlimit(RLIMIT_NOFILE, &limit);
    idling = !strcmp(words[1], "idle");
    if (idling) {
        if (count < 7) return 64;
        tls = atoi(words[4]); depth = atoi(words[5]); read_names(words[6]); wanted = connections;
    } else {
        wanted = atol(words[4]); resume = count > 5 && atoi(words[5]);
        request = !strcmp(words[1], "bulk") ? "GET /bulk HTTP/1.0\r\n\r\n" : "GET /small HTTP/1.0\r\n\r\n";
    }
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
    where.sin_family = AF_INET; where.sin_port = htons(port); inet_pton(AF_INET, "127.0.0.1", &where.sin_addr);
    poller = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) all[i].number = i;

    double started = now();
    int first = idling && connections > WINDOW ? WINDOW : connections;
    for (int i = 0; i < first && begun < wanted; i++) begin(&all[i]);
    work_until(wanted, all);
    double seconds = now() - started;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_utime.tv_usec / 1e6 + used.ru_stime.tv_sec + used.ru_stime.tv_usec / 1e6;
    printf("{\"count\":%ld,\"seconds\":%.6f,\"octets\":%ld,\"resumed\":%ld,\"client_cpu\":%.3f}\n",
           finished, seconds, octets, resumed, cpu);
    fflush(stdout);
    if (!idling || !fgets(buffer, 16, stdin)) return 0;
    finished = 0;
    for (int i = 0; i < connections; i++) finished += all[i].stage == TOLD;
    work_until(wanted, all);
    printf("[");
    for (int i = 0; i < connections; i++) printf("%s%.6f", i ? "," : "", all[i].told);
    printf("]\n");
    return 0;
}

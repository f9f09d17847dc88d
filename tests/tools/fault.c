/* Loaded into a region in front of the C library: counts the calls by which it puts things on the disk, over all
 * threads, and at the one that was asked for kills the process, lets the call fail, or says that a sync is done which is
 * not. It can also put the clock forward.
 *
 * strace injects faults too, but counts for each thread and each kind of call by itself, so that it cannot be told to
 * stop "at the 7th".
 *
 * FAULT_FILE is the plan, mapped and shared with the test (tests/src/fault.rs); FAULT_ROOT limits it to files below. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { SYNC = 1, NAME = 2, WRITE = 4 };
enum { SHORT = 1000000, SKIP = 1000001 };

struct plan {
    _Atomic uint64_t seen;   /* calls of these kinds so far */
    uint64_t first, last;    /* which of them are hit, from 1; 0: none */
    uint64_t action;         /* 0: SIGKILL before the call; SHORT: half is written; SKIP: no sync, and success; else this errno */
    uint64_t kinds;          /* SYNC | NAME | WRITE; 0: nothing is counted */
    char path[88];           /* only files whose path holds this text */
    _Atomic int64_t ahead;   /* seconds by which the process sees the clock ahead */
};

static struct plan *plan;
static const char *root;

__attribute__((constructor)) static void start(void) {
    const char *name = getenv("FAULT_FILE");
    root = getenv("FAULT_ROOT");
    int file = name && root ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        plan = mapped;
}

/* What to do about this call: -1 nothing, else the action. */
static int64_t meet(int kind, const char *path) {
    if (strncmp(path, root, strlen(root)) != 0 || !strstr(path, plan->path))
        return -1;
    uint64_t call = atomic_fetch_add(&plan->seen, 1) + 1;
    if (call < plan->first || call > plan->last)
        return -1;
    if (plan->action == 0) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if ((plan->action == SHORT && kind != WRITE) || (plan->action == SKIP && kind != SYNC))
        return -1;
    return (int64_t)plan->action;
}

static int64_t met_file(int kind, int file) {
    if (!plan || !(plan->kinds & kind))
        return -1;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return -1;
    path[length] = 0;
    return meet(kind, path);
}

static int64_t met_path(int kind, const char *path) {
    return !plan || !(plan->kinds & kind) || !path ? -1 : meet(kind, path);
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define OR_FAIL(met) \
    int64_t action = met; \
    if (action == SKIP) return 0; \
    if (action > 0) { errno = (int)action; return -1; }

int fsync(int file) { NEXT(fsync); OR_FAIL(met_file(SYNC, file)); return next(file); }
int fdatasync(int file) { NEXT(fdatasync); OR_FAIL(met_file(SYNC, file)); return next(file); }

int rename(const char *old, const char *new) { NEXT(rename); OR_FAIL(met_path(NAME, new)); return next(old, new); }
int renameat(int a, const char *old, int b, const char *new) {
    NEXT(renameat); OR_FAIL(met_path(NAME, new)); return next(a, old, b, new);
}
int renameat2(int a, const char *old, int b, const char *new, unsigned flags) {
    NEXT(renameat2); OR_FAIL(met_path(NAME, new)); return next(a, old, b, new, flags);
}
int unlink(const char *path) { NEXT(unlink); OR_FAIL(met_path(NAME, path)); return next(path); }

int ftruncate(int file, off_t size) { NEXT(ftruncate); OR_FAIL(met_file(WRITE, file)); return next(file, size); }
int ftruncate64(int file, off64_t size) { NEXT(ftruncate64); OR_FAIL(met_file(WRITE, file)); return next(file, size); }

#define OR_SHORT(met) \
    int64_t action = met; \
    if (action == SHORT) size = size > 1 ? size / 2 : size; \
    else if (action > 0) { errno = (int)action; return -1; }

ssize_t write(int file, const void *bytes, size_t size) {
    NEXT(write); OR_SHORT(met_file(WRITE, file)); return next(file, bytes, size);
}
ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
    NEXT(pwrite); OR_SHORT(met_file(WRITE, file)); return next(file, bytes, size, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    NEXT(pwrite64); OR_SHORT(met_file(WRITE, file)); return next(file, bytes, size, at);
}

/* Leases and sessions live by this clock; time-outs go by the monotonic one, which is left alone. */
static time_t ahead(void) { return plan ? (time_t)atomic_load(&plan->ahead) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(clock_gettime);
    int result = next(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += ahead();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    NEXT(gettimeofday);
    int result = next(now, zone);
    if (result == 0)
        now->tv_sec += ahead();
    return result;
}
time_t time(time_t *result) {
    NEXT(time);
    time_t now = next(NULL) + ahead();
    if (result)
        *result = now;
    return now;
}

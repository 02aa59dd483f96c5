/* Another day for every program that loads this: the wall clock and the times of files are SHIFT_SECONDS later.

   What counts time that passed (CLOCK_MONOTONIC and its kin) stays as it is, and so does everything that waits by it.
   Files are shifted when they are looked at and shifted back when they are set, so that they agree with the clock and
   what was set is what is read. Programs that make system calls themselves, such as those written in Go, stay today. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <utime.h>

static time_t shift(void) {
    static time_t seconds = -1;
    if (seconds == -1) {
        const char *told = getenv("SHIFT_SECONDS");
        seconds = told ? atoll(told) : 0;
    }
    return seconds;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* The clock. */

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && is_wall(clock)) now->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int result = real(now, zone);
    if (result == 0) now->tv_sec += shift();
    return result;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    REAL(timespec_get);
    int result = real(now, base);
    if (result == TIME_UTC) now->tv_sec += shift();
    return result;
}

/* Waiting for an instant of the wall clock. */

static struct timespec back(const struct timespec *until) {
    struct timespec real = *until;
    real.tv_sec -= shift();
    return real;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    REAL(clock_nanosleep);
    if (!(flags & TIMER_ABSTIME) || !is_wall(clock)) return real(clock, flags, until, left);
    struct timespec when = back(until);
    return real(clock, flags, &when, left);
}

int sem_timedwait(sem_t *restrict it, const struct timespec *restrict until) {
    REAL(sem_timedwait);
    struct timespec when = back(until);
    return real(it, &when);
}

int sem_clockwait(sem_t *restrict it, clockid_t clock, const struct timespec *restrict until) {
    REAL(sem_clockwait);
    struct timespec when = is_wall(clock) ? back(until) : *until;
    return real(it, clock, &when);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict it, const struct timespec *restrict until) {
    REAL(pthread_mutex_timedlock);
    struct timespec when = back(until);
    return real(it, &when);
}

int pthread_cond_clockwait(
    pthread_cond_t *restrict it, pthread_mutex_t *restrict lock, clockid_t clock, const struct timespec *restrict until
) {
    REAL(pthread_cond_clockwait);
    struct timespec when = is_wall(clock) ? back(until) : *until;
    return real(it, lock, clock, &when);
}

/* Which clock a condition goes by only its maker knows; a monotonic one has counted less than thirty years. */
int pthread_cond_timedwait(
    pthread_cond_t *restrict it, pthread_mutex_t *restrict lock, const struct timespec *restrict until
) {
    REAL(pthread_cond_timedwait);
    struct timespec when = until->tv_sec > 1000000000 ? back(until) : *until;
    return real(it, lock, &when);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *timer, struct itimerspec *old) {
    REAL(timerfd_settime);
    struct itimerspec when = *timer;
    if ((flags & TFD_TIMER_ABSTIME) && when.it_value.tv_sec > 1000000000) when.it_value.tv_sec -= shift();
    return real(fd, flags, &when, old);
}

/* Looking at files. */

#define LATER(st) ((st)->st_atim.tv_sec += shift(), (st)->st_mtim.tv_sec += shift(), (st)->st_ctim.tv_sec += shift())

#define LOOK(name, kind, arguments, passed) \
    int name arguments { \
        REAL(name); \
        int result = real passed; \
        if (result == 0) LATER(found); \
        return result; \
    }

#define LOOKS(size, kind) \
    LOOK(stat##size, kind, (const char *restrict path, kind *restrict found), (path, found)) \
    LOOK(lstat##size, kind, (const char *restrict path, kind *restrict found), (path, found)) \
    LOOK(fstat##size, kind, (int fd, kind *found), (fd, found)) \
    LOOK( \
        fstatat##size, kind, (int dir, const char *restrict path, kind *restrict found, int flags), \
        (dir, path, found, flags) \
    ) \
    int __xstat##size(int, const char *, kind *); \
    int __lxstat##size(int, const char *, kind *); \
    int __fxstat##size(int, int, kind *); \
    int __fxstatat##size(int, int, const char *, kind *, int); \
    LOOK(__xstat##size, kind, (int version, const char *path, kind *found), (version, path, found)) \
    LOOK(__lxstat##size, kind, (int version, const char *path, kind *found), (version, path, found)) \
    LOOK(__fxstat##size, kind, (int version, int fd, kind *found), (version, fd, found)) \
    LOOK( \
        __fxstatat##size, kind, (int version, int dir, const char *path, kind *found, int flags), \
        (version, dir, path, found, flags) \
    )

LOOKS(, struct stat)
LOOKS(64, struct stat64)

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    REAL(statx);
    int result = real(dir, path, flags, mask, found);
    if (result == 0) {
        found->stx_atime.tv_sec += shift();
        found->stx_mtime.tv_sec += shift();
        found->stx_ctime.tv_sec += shift();
        found->stx_btime.tv_sec += shift();
    }
    return result;
}

/* Setting the times of files. */

static const struct timespec *earlier(const struct timespec times[2], struct timespec real[2]) {
    if (!times) return NULL;
    for (int n = 0; n < 2; n++) {
        real[n] = times[n];
        if (times[n].tv_nsec != UTIME_NOW && times[n].tv_nsec != UTIME_OMIT) real[n].tv_sec -= shift();
    }
    return real;
}

static const struct timeval *earlier_us(const struct timeval times[2], struct timeval real[2]) {
    if (!times) return NULL;
    for (int n = 0; n < 2; n++) {
        real[n] = times[n];
        real[n].tv_sec -= shift();
    }
    return real;
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags) {
    REAL(utimensat);
    struct timespec room[2];
    return real(dir, path, earlier(times, room), flags);
}

int futimens(int fd, const struct timespec times[2]) {
    REAL(futimens);
    struct timespec room[2];
    return real(fd, earlier(times, room));
}

int utimes(const char *path, const struct timeval times[2]) {
    REAL(utimes);
    struct timeval room[2];
    return real(path, earlier_us(times, room));
}

int lutimes(const char *path, const struct timeval times[2]) {
    REAL(lutimes);
    struct timeval room[2];
    return real(path, earlier_us(times, room));
}

int futimes(int fd, const struct timeval times[2]) {
    REAL(futimes);
    struct timeval room[2];
    return real(fd, earlier_us(times, room));
}

int futimesat(int dir, const char *path, const struct timeval times[2]) {
    REAL(futimesat);
    struct timeval room[2];
    return real(dir, path, earlier_us(times, room));
}

int utime(const char *path, const struct utimbuf *times) {
    REAL(utime);
    if (!times) return real(path, NULL);
    struct utimbuf when = {times->actime - shift(), times->modtime - shift()};
    return real(path, &when);
}

/* Keep a copy of each file below $POWER_CUT_DATA in $POWER_CUT_DISK, as it was when it was last synced.
 *
 * Preloaded into a server. What a power cut would leave is then the folder of copies: files that were never synced
 * are not in it, and of the others only what had been written before the last fsync. A file that is deleted is gone at
 * once: SQLite syncs the folder after deleting a journal.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* The copy of a file that lies right below the data folder; 0 for any other file. */
static int copy_of(const char *path, char *copy) {
    const char *data = getenv("POWER_CUT_DATA"), *disk = getenv("POWER_CUT_DISK");
    size_t below = data ? strlen(data) : 0;
    if (!data || !disk || strncmp(path, data, below) != 0 || path[below] != '/' || strchr(path + below + 1, '/'))
        return 0;
    return snprintf(copy, PATH_MAX, "%s%s", disk, path + below) < PATH_MAX;
}

static void keep(int fd) {
    char link[64], path[PATH_MAX], copy[PATH_MAX], part[PATH_MAX + 8], buffer[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    if (!copy_of(path, copy)) return;
    snprintf(part, sizeof part, "%s.part", copy);
    pthread_mutex_lock(&one_at_a_time);
    int from = open(path, O_RDONLY), to = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t got = -1;
    while (from >= 0 && to >= 0 && (got = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, got) != got) abort();
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    if (got == 0) rename(part, copy);
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int unlink(const char *path) {
    static int (*real)(const char *);
    char copy[PATH_MAX];
    if (!real) real = dlsym(RTLD_NEXT, "unlink");
    int result = real(path);
    if (result == 0 && copy_of(path, copy)) real(copy);
    return result;
}

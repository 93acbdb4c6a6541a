/* Notes, in one order, what a program writes, truncates, flushes and deletes below a folder, and what it answers on
 * sockets. Preloaded; POWER_LOG names the record, POWER_FOLDER the folder, POWER_FLUSH_US makes each flush last longer.
 *
 * A write is noted when it is done and a flush when it begins and when it has ended, so a flush is only ever credited
 * with what was surely written before it. An answer is noted before it leaves. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES_MAX = 256, ANSWER_MAX = 1024 };

struct __attribute__((packed)) head {
  uint8_t kind;
  uint64_t file;
  int64_t offset;
  uint32_t length;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static const char *folder = "";
static long flush_us;
static uint64_t flushes;
static ino_t files[FILES_MAX];
static int file_count;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_send)(int, const void *, size_t, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);

static void begin(void) {
  real_open = dlsym(RTLD_NEXT, "open");
  real_openat = dlsym(RTLD_NEXT, "openat");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite");
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_send = dlsym(RTLD_NEXT, "send");
  real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  const char *log = getenv("POWER_LOG"), *below = getenv("POWER_FOLDER"), *us = getenv("POWER_FLUSH_US");
  if (below) folder = below;
  if (us) flush_us = atol(us);
  if (log && *folder)
    record = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, uint64_t file, int64_t offset, const void *data, size_t length) {
  struct head head = {(uint8_t)kind, file, offset, (uint32_t)length};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, length}};
  pthread_mutex_lock(&lock);
  /* Half a note would spoil all that follow. */
  if (syscall(SYS_writev, record, parts, 2) != (ssize_t)(sizeof head + length)) abort();
  pthread_mutex_unlock(&lock);
}

static int is_watched(ino_t file) {
  for (int i = 0; i < __atomic_load_n(&file_count, __ATOMIC_ACQUIRE); i++)
    if (files[i] == file) return 1;
  return 0;
}

/* The file's number when it lies in the folder, else 0. */
static uint64_t watched(int fd) {
  struct stat stat;
  if (record < 0 || fstat(fd, &stat) != 0 || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) return 0;
  return is_watched(stat.st_ino) ? stat.st_ino : 0;
}

static void opened(int fd, const char *path) {
  struct stat stat;
  if (fd < 0 || record < 0 || strncmp(path, folder, strlen(folder)) != 0 || fstat(fd, &stat) != 0) return;
  pthread_mutex_lock(&lock);
  if (!is_watched(stat.st_ino)) {
    if (file_count == FILES_MAX) abort();
    files[file_count] = stat.st_ino;
    __atomic_store_n(&file_count, file_count + 1, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&lock);
  note('O', stat.st_ino, 0, path, strlen(path));
}

static void answered(int fd, const struct iovec *parts, int count) {
  struct stat stat;
  char text[ANSWER_MAX];
  size_t length = 0;
  if (record < 0 || count < 1 || parts[0].iov_len < 7 || memcmp(parts[0].iov_base, "HTTP/1.", 7) != 0) return;
  if (fstat(fd, &stat) != 0 || !S_ISSOCK(stat.st_mode)) return;
  for (int i = 0; i < count && length < sizeof text; i++) {
    size_t more = parts[i].iov_len < sizeof text - length ? parts[i].iov_len : sizeof text - length;
    memcpy(text + length, parts[i].iov_base, more);
    length += more;
  }
  note('S', 0, 0, text, length);
}

static int opening(int at, const char *path, int flags, mode_t mode) {
  pthread_once(&once, begin);
  int fd = at == AT_FDCWD ? real_open(path, flags, mode) : real_openat(at, path, flags, mode);
  opened(fd, path);
  return fd;
}

#define MODE(flags)                                                  \
  mode_t mode = 0;                                                   \
  if ((flags) & (O_CREAT | O_TMPFILE)) {                             \
    va_list rest;                                                    \
    va_start(rest, flags);                                           \
    mode = va_arg(rest, mode_t);                                     \
    va_end(rest);                                                    \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return opening(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE(flags)
  return opening(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...) {
  MODE(flags)
  return opening(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
  MODE(flags)
  return opening(at, path, flags, mode);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  pthread_once(&once, begin);
  ssize_t done = real_pwrite(fd, data, length, offset);
  uint64_t file = done > 0 ? watched(fd) : 0;
  if (file) note('W', file, offset, data, (size_t)done);
  return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite(fd, data, length, offset); }

ssize_t write(int fd, const void *data, size_t length) {
  pthread_once(&once, begin);
  uint64_t file = watched(fd);
  off_t offset = file ? lseek(fd, 0, SEEK_CUR) : 0;
  answered(fd, &(struct iovec){(void *)data, length}, 1);
  ssize_t done = real_write(fd, data, length);
  if (file && done > 0) note('W', file, offset, data, (size_t)done);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  pthread_once(&once, begin);
  /* Into files nobody writes so; what is not noted must not pass unseen. */
  if (watched(fd)) abort();
  answered(fd, parts, count);
  return real_writev(fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
  pthread_once(&once, begin);
  answered(fd, &(struct iovec){(void *)data, length}, 1);
  return real_send(fd, data, length, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  pthread_once(&once, begin);
  answered(fd, message->msg_iov, (int)message->msg_iovlen);
  return real_sendmsg(fd, message, flags);
}

int ftruncate(int fd, off_t length) {
  pthread_once(&once, begin);
  int result = real_ftruncate(fd, length);
  uint64_t file = result == 0 ? watched(fd) : 0;
  if (file) note('T', file, length, "", 0);
  return result;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int flush(int fd, int (*real)(int)) {
  uint64_t file = watched(fd);
  if (!file) return real(fd);
  int64_t number = (int64_t)__atomic_add_fetch(&flushes, 1, __ATOMIC_SEQ_CST);
  note('B', file, number, "", 0);
  if (flush_us) usleep((useconds_t)flush_us);
  int result = real(fd);
  if (result == 0) note('E', file, number, "", 0);
  return result;
}

int fsync(int fd) {
  pthread_once(&once, begin);
  return flush(fd, real_fsync);
}

int fdatasync(int fd) {
  pthread_once(&once, begin);
  return flush(fd, real_fdatasync);
}

int unlink(const char *path) {
  pthread_once(&once, begin);
  int result = real_unlink(path);
  if (result == 0 && record >= 0 && strncmp(path, folder, strlen(folder)) == 0) note('U', 0, 0, path, strlen(path));
  return result;
}

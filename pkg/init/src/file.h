/* Whole small files, and directories that may not exist yet. */
#ifndef MOBY_FILE_H
#define MOBY_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A path from a format; false (and an empty path) when it is longer than PATH_MAX. */
bool path_format(char path[PATH_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The content with a NUL behind it, for the caller to free; NULL with errno (EFBIG: longer than `limit` bytes). */
char *file_read(const char *path, size_t limit, size_t *size);

/* Write into what is there (/proc, /sys) or into a new file of mode 0644; -1 with errno. */
int file_write(const char *path, const char *text);

/* Write beside `path`, then rename: a reader sees the old content or the new one. -1 with errno. */
int file_replace(const char *path, const char *data, size_t size);

/* `mkdir -p`, new directories of mode 0755; -1 with errno. */
int make_directories(const char *path);

/* Like make_directories for the part before the last `/`. */
int make_parent(const char *path);

/* A descriptor (O_PATH) of directory `path` below `root`, made when missing. No symbolic link and no `..` leads out of
 * `root`: the tree below it comes from an image. -1 with errno. */
int directory_inside(const char *root, const char *path);

#endif

/* Finding the root: by the hash of what a device starts with, so that no name of a device has to be known. */
#include "stage1.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Two pieces tell the file systems apart: superblocks of squashfs and EROFS, and the volume descriptor of ISO 9660. */
enum { PIECE_BYTES = 2048, SECOND_PIECE = 32768, STEP_MS = 20 };

/* FNV-1a: tells devices apart, and is no security; that is verity's. */
static uint64_t fnv1a(const unsigned char *data, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 0x100000001b3u;
	return hash;
}

static int starts_with(const char *device, const char *wanted)
{
	unsigned char head[2 * PIECE_BYTES];
	char hash[17];
	int whole;
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	whole = pread(fd, head, PIECE_BYTES, 0) == PIECE_BYTES &&
		pread(fd, head + PIECE_BYTES, PIECE_BYTES, SECOND_PIECE) == PIECE_BYTES;
	close(fd);
	if (!whole)
		return 0;
	snprintf(hash, sizeof hash, "%016llx", (unsigned long long)fnv1a(head, sizeof head));
	return strcmp(hash, wanted) == 0;
}

static int scan(const char *hash, char *out, size_t size)
{
	struct dirent *entry;
	int found = 0;
	DIR *all = opendir("/sys/class/block");
	if (all == NULL)
		return 0;
	while (!found && (entry = readdir(all)) != NULL) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, "ram", 3) == 0 || strncmp(entry->d_name, "loop", 4) == 0)
			continue;
		snprintf(out, size, "/dev/%s", entry->d_name);
		found = starts_with(out, hash);
	}
	closedir(all);
	return found;
}

int find_root(const char *hash, int wait_ms, char *out, size_t size)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
	for (int waited = 0; waited < wait_ms; waited += STEP_MS) {
		if (scan(hash, out, size))
			return 1;
		nanosleep(&step, NULL);
	}
	return 0;
}

/* Roots of containers and volumes that the builder packed: squashfs files `ROOT.squashfs` beside the directory `ROOT`. */
#ifndef MOBY_IMAGES_H
#define MOBY_IMAGES_H

#include <limits.h>
#include <stdbool.h>

/* Mount them all on loop devices, read-only. One that fails is a line on the console. */
void images_mount(void);

/* The directory that image `path` belongs on: without its suffix; false when it has another one. */
bool image_place(const char *path, char place[PATH_MAX]);

/* Is there an image for directory `place`? */
bool image_is_for(const char *place);

#endif

/* The root file system and the kernel's own file systems. */
#ifndef MOBY_ROOT_H
#define MOBY_ROOT_H

/* When `/` is the kernel's rootfs, put a bind mount of it on top, so that pivot_root(2) works for containers: the
 * kernel refuses it in rootfs. Nothing is copied. */
void root_leave_rootfs(void);

/* Mount /proc, /run, /tmp, /var, /dev, /sys, cgroups and the rest; each failure is a line on the console. */
void root_mount_all(void);

/* Make `/` read-only and shared: from here on only tmpfs and volumes take writes. */
void root_seal(void);

#endif

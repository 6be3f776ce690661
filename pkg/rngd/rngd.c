/* Feeds the kernel's random number generator from the processor or the hypervisor.
 *
 * usage: rngd [-1] [-disable-rdrand] [-disable-rdseed]
 *
 * Whenever /dev/random can be written (the kernel's way to say that it wants entropy) eight bytes are added and
 * credited in full. With -1 the program ends as soon as the kernel has enough: used on boot, it makes sure that what
 * starts next finds the generator ready. Since Linux 5.18 a ready generator never asks again, so that as a service this
 * program just sleeps there.
 *
 * Sources, best first: RDSEED, RDRAND (x86-64), RNDR (arm64), /dev/hwrng (virtio-rng and others).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum { TRIES = 100, BITS = 64 };

/* struct rand_pool_info of <linux/random.h> with room for one word; musl has no copy of that header. */
struct entropy {
	int bits;
	int bytes;
	uint64_t word;
};

#define ADD_ENTROPY _IOW('R', 0x03, int[2])

struct source {
	const char *name;
	int (*read)(uint64_t *word);
};

#if defined(__x86_64__)
static int from_rdseed(uint64_t *word)
{
	unsigned char good = 0;
	for (int i = 0; i < TRIES && !good; i++)
		__asm__ volatile("rdseed %0; setc %1" : "=r"(*word), "=qm"(good)::"cc");
	return good;
}

static int from_rdrand(uint64_t *word)
{
	unsigned char good = 0;
	for (int i = 0; i < TRIES && !good; i++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*word), "=qm"(good)::"cc");
	return good;
}

static struct source processor(int use_rdseed, int use_rdrand)
{
	unsigned a, b, c, d;
	if (use_rdseed && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & (1u << 18))
		return (struct source){"RDSEED", from_rdseed};
	if (use_rdrand && __get_cpuid(1, &a, &b, &c, &d) && c & (1u << 30))
		return (struct source){"RDRAND", from_rdrand};
	return (struct source){0};
}
#elif defined(__aarch64__)
static int from_rndr(uint64_t *word)
{
	unsigned good = 0;
	/* s3_3_c2_c4_0 is RNDR; it sets the flags to NZCV = 0000 when it gives a number. */
	for (int i = 0; i < TRIES && !good; i++)
		__asm__ volatile("mrs %0, s3_3_c2_c4_0; cset %w1, ne" : "=r"(*word), "=r"(good)::"cc");
	return (int)good;
}

static struct source processor(int use_rdseed, int use_rdrand)
{
	const unsigned long has_rndr = 1ul << 16; /* HWCAP2_RNG */
	if (use_rdseed && use_rdrand && getauxval(AT_HWCAP2) & has_rndr) return (struct source){"RNDR", from_rndr};
	return (struct source){0};
}
#else
static struct source processor(int use_rdseed, int use_rdrand)
{
	(void)use_rdseed, (void)use_rdrand;
	return (struct source){0};
}
#endif

static int hardware = -1;

static int from_hardware(uint64_t *word)
{
	return read(hardware, word, sizeof *word) == (ssize_t)sizeof *word;
}

static struct source hypervisor(void)
{
	uint64_t probe;
	hardware = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	if (hardware >= 0 && from_hardware(&probe)) return (struct source){"/dev/hwrng", from_hardware};
	return (struct source){0};
}

/* True when the kernel wants more; waits for that without limit unless `once`. */
static int wanted(int random, int once)
{
	struct pollfd state = {.fd = random, .events = POLLOUT};
	int ready = poll(&state, 1, once ? 0 : -1);
	return ready > 0 && state.revents & POLLOUT;
}

static int feed(int random, struct source source)
{
	struct entropy entropy = {.bits = BITS, .bytes = sizeof entropy.word};
	if (!source.read(&entropy.word)) {
		fprintf(stderr, "rngd: %s gives no numbers\n", source.name);
		return 1;
	}
	if (ioctl(random, ADD_ENTROPY, &entropy)) {
		fprintf(stderr, "rngd: cannot add entropy: %s\n", strerror(errno));
		return 1;
	}
	return 0;
}

/* The first process of a PID namespace ignores a signal without a handler. */
static void stop(int signal)
{
	(void)signal;
	_exit(0);
}

int main(int argc, char **argv)
{
	int once = 0, use_rdseed = 1, use_rdrand = 1;
	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i] + (argv[i][0] == '-' && argv[i][1] == '-');
		if (!strcmp(flag, "-1")) once = 1;
		else if (!strcmp(flag, "-disable-rdrand")) use_rdrand = 0;
		else if (!strcmp(flag, "-disable-rdseed")) use_rdseed = 0;
		else {
			fprintf(stderr, "usage: rngd [-1] [-disable-rdrand] [-disable-rdseed]\n");
			return 2;
		}
	}
	signal(SIGTERM, stop);
	int random = open("/dev/random", O_RDWR | O_CLOEXEC);
	if (random < 0) {
		fprintf(stderr, "rngd: /dev/random: %s\n", strerror(errno));
		return 1;
	}
	if (once && !wanted(random, once)) return 0;
	struct source source = processor(use_rdseed, use_rdrand);
	if (!source.read) source = hypervisor();
	if (!source.read) {
		fprintf(stderr, "rngd: no random source available\n");
		return 1;
	}
	for (;;) {
		if (wanted(random, once)) {
			if (feed(random, source)) return 1;
		} else if (once) {
			return 0;
		}
	}
}

/* What dhcpcd runs on every event: keeps /etc/resolv.conf and the interface's MTU as the network says.
 *
 * usage: dhcpcd-hook [STATE_DIR RESOLV_CONF], with the facts in the environment (dhcpcd-run-hooks(8)).
 *
 * Each interface and protocol (DHCP, DHCPv6, router advertisement) has a file in the state directory with one
 * "nameserver X" or "search X" per line; resolv.conf is made of all of them. It is written in place, never replaced:
 * containers have this very file bind mounted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORD_BYTES = 256, WORDS = 32, MTU_MIN = 576, MTU_MAX = 65535, OPTIONS = 16 };

struct words {
	int count;
	char word[WORDS][WORD_BYTES];
};

static const char *fact(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

static int is_true(const char *name)
{
	return !strcmp(fact(name), "true");
}

/* The network's text ends up in a file that every resolver reads: only what a name or an address is made of. */
static int is_clean(const char *word)
{
	return *word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_%-")];
}

static void add(struct words *words, const char *word)
{
	if (words->count == WORDS || strlen(word) >= WORD_BYTES || !is_clean(word)) return;
	for (int i = 0; i < words->count; i++)
		if (!strcmp(words->word[i], word)) return;
	strcpy(words->word[words->count++], word);
}

static void add_list(struct words *words, const char *list)
{
	char *copy = strdup(list), *rest = copy;
	for (char *word; copy && (word = strsep(&rest, " ,\t"));)
		if (*word) add(words, word);
	free(copy);
}

/* A link-local server is of use only with its interface. */
static void add_servers(struct words *servers, const char *list, const char *interface)
{
	struct words plain = {0};
	add_list(&plain, list);
	for (int i = 0; i < plain.count; i++) {
		char scoped[WORD_BYTES + IF_NAMESIZE + 1];
		int local = !strncasecmp(plain.word[i], "fe80:", 5) && !strchr(plain.word[i], '%');
		snprintf(scoped, sizeof scoped, "%s%s%s", plain.word[i], local ? "%" : "", local ? interface : "");
		add(servers, scoped);
	}
}

static void gather(struct words *servers, struct words *search, const char *interface)
{
	add_servers(servers, fact("new_domain_name_servers"), interface);
	add_servers(servers, fact("new_dhcp6_name_servers"), interface);
	add_list(search, fact("new_domain_search"));
	if (!search->count) add_list(search, fact("new_domain_name"));
	add_list(search, fact("new_dhcp6_domain_search"));
	for (int router = 1; router <= OPTIONS; router++) {
		for (int option = 1; option <= OPTIONS; option++) {
			char name[64];
			snprintf(name, sizeof name, "nd%d_rdnss%d_servers", router, option);
			add_servers(servers, fact(name), interface);
			snprintf(name, sizeof name, "nd%d_dnssl%d_search", router, option);
			add_list(search, fact(name));
		}
	}
}

static int remember(int state, const char *name, const struct words *servers, const struct words *search)
{
	int fd = openat(state, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file) return -1;
	for (int i = 0; i < servers->count; i++) fprintf(file, "nameserver %s\n", servers->word[i]);
	for (int i = 0; i < search->count; i++) fprintf(file, "search %s\n", search->word[i]);
	return fclose(file);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void recall(int state, const char *directory, struct words *servers, struct words *search)
{
	struct dirent **entries = NULL;
	int count = scandir(directory, &entries, is_visible, alphasort);
	for (int i = 0; i < count; i++) {
		int fd = openat(state, entries[i]->d_name, O_RDONLY | O_CLOEXEC);
		FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
		char key[16], word[WORD_BYTES];
		while (file && fscanf(file, "%15s %255s", key, word) == 2) add(*key == 'n' ? servers : search, word);
		if (file) fclose(file);
		free(entries[i]);
	}
	free(entries);
}

/* One write, then the new length: a reader never finds the file empty. */
static int publish(const char *path, const struct words *servers, const struct words *search)
{
	size_t room = 2 * WORDS * (WORD_BYTES + 12) + 64, used;
	char *text = malloc(room);
	if (!text) return -1;
	used = (size_t)snprintf(text, room, "# written by dhcpcd\n");
	for (int i = 0; i < search->count; i++)
		used += (size_t)snprintf(text + used, room - used, "%s %s", i ? "" : "search", search->word[i]);
	if (search->count) used += (size_t)snprintf(text + used, room - used, "\n");
	for (int i = 0; i < servers->count; i++)
		used += (size_t)snprintf(text + used, room - used, "nameserver %s\n", servers->word[i]);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int failed = fd < 0 || write(fd, text, used) != (ssize_t)used || ftruncate(fd, (off_t)used);
	if (fd >= 0) close(fd);
	free(text);
	return failed ? -1 : 0;
}

static void set_mtu(const char *interface, const char *text)
{
	long mtu = strtol(text, NULL, 10);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	if (mtu >= MTU_MIN && mtu <= MTU_MAX && fd >= 0) {
		strncpy(request.ifr_name, interface, IF_NAMESIZE - 1);
		request.ifr_mtu = (int)mtu;
		if (ioctl(fd, SIOCSIFMTU, &request))
			fprintf(stderr, "%s: MTU %ld: %s\n", interface, mtu, strerror(errno));
	}
	if (fd >= 0) close(fd);
}

int main(int argc, char **argv)
{
	const char *directory = argc == 3 ? argv[1] : "/run/dhcpcd/resolv.conf";
	const char *target = argc == 3 ? argv[2] : "/etc/resolv.conf";
	const char *interface = fact("interface");
	int up = is_true("if_up") || !strcmp(fact("reason"), "ROUTERADVERT"), down = is_true("if_down");
	char name[IF_NAMESIZE + 16];
	if (!*interface || strchr(interface, '/') || (!up && !down)) return 0;
	snprintf(name, sizeof name, "%.15s.%.8s", interface, fact("protocol"));
	mkdir(directory, 0755);
	int state = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state < 0) {
		fprintf(stderr, "%s: %s\n", directory, strerror(errno));
		return 1;
	}
	struct words servers = {0}, search = {0};
	if (up && *fact("new_interface_mtu")) set_mtu(interface, fact("new_interface_mtu"));
	if (up) gather(&servers, &search, interface);
	if (servers.count || search.count) remember(state, name, &servers, &search);
	else if (unlinkat(state, name, 0) && errno == ENOENT) return 0;
	servers.count = search.count = 0;
	recall(state, directory, &servers, &search);
	if (publish(target, &servers, &search)) {
		fprintf(stderr, "%s: %s\n", target, strerror(errno));
		return 1;
	}
	return 0;
}

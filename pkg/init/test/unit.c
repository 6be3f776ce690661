/* Unit tests of the guest's pure parts. `unit NAME` runs the case of that name; each name is a claim. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/backoff.h"
#include "../src/console.h"
#include "../src/container.h"
#include "../src/control.h"
#include "../src/file.h"
#include "../src/hooks.h"
#include "../src/host.h"
#include "../src/images.h"
#include "../src/json.h"
#include "../src/life.h"
#include "../src/logs.h"
#include "../src/modules.h"
#include "../src/mount.h"
#include "../src/netlink.h"
#include "../src/paths.h"
#include "../src/status.h"

#define CHECK(condition) check((condition), #condition, __LINE__)
#define SAME(found, expected) same((found), (expected), __LINE__)

static int failures;

static void check(bool good, const char *text, int line)
{
	if (!good) {
		fprintf(stderr, "line %d: %s\n", line, text);
		failures++;
	}
}

static void same(const char *found, const char *expected, int line)
{
	if (strcmp(found, expected) != 0) {
		fprintf(stderr, "line %d: expected `%s`, got `%s`\n", line, expected, found);
		failures++;
	}
}

static struct json_document document;

static const struct json *parse(const char *text)
{
	json_free(&document);
	return json_parse(&document, text, strlen(text));
}

static struct {
	const char *name;
	void (*run)(void);
} cases[64];
static size_t case_count;

static void add_case(const char *name, void (*run)(void))
{
	cases[case_count].name = name;
	cases[case_count++].run = run;
}

#define CASE(name) \
	static void name(void); \
	__attribute__((constructor)) static void add_##name(void) { add_case(#name, name); } \
	static void name(void)

CASE(json_reads_all_kinds_of_values)
{
	const struct json *root = parse(" {\"a\": [1, -2.5e3, true, false, null], \"b\": {\"c\": \"d\"}, \"e\": 9e99} ");

	CHECK(root != NULL && root->type == JSON_OBJECT);
	const struct json *item = json_items(json_get(root, "a"));
	CHECK(item->number == 1 && item->next->number == -2 && item->next->next->number == 1);
	CHECK(item->next->next->next->type == JSON_BOOL && item->next->next->next->next->type == JSON_NULL);
	SAME(json_string(json_get(root, "b"), "c"), "d");
	CHECK(json_number(root, "none", 7) == 7 && json_number(root, "b", 7) == 7);
	CHECK(json_get(NULL, "a") == NULL && json_items(root) == NULL);
}

CASE(json_unescapes_strings)
{
	SAME(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")->string, "\"\\/\b\f\n\r\t");
	SAME(parse("\"\\u003c\\u00e9\\u20AC\\ud83d\\ude00\"")->string, "<\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

CASE(json_refuses_what_is_not_json)
{
	static const char *const bad[] = {"", " ", "{", "[", "]", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "01", "-", "1.",
		"1e", ".5", "+1", "tru", "nul", "'a'", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"",
		"\"\\ud800\\u0041\"", "\"\\", "\"\n\"", "1 2", "[1 2]", "{\"a\":1 \"b\":2}", "\xef\xbb\xbf{}", "NaN", "[1]]"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool refused = parse(bad[i]) == NULL && document.error != NULL;

		if (!refused)
			fprintf(stderr, "accepted: %s\n", bad[i]);
		CHECK(refused);
	}
}

CASE(json_refuses_nul_in_strings)
{
	CHECK(parse("\"\\u0000\"") == NULL);
	json_free(&document);
	CHECK(json_parse(&document, "\"a\0b\"", 5) == NULL);
}

CASE(json_bounds_depth)
{
	char text[2 * JSON_DEPTH + 3];

	for (int depth = JSON_DEPTH; depth <= JSON_DEPTH + 1; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		text[2 * depth] = '\0';
		CHECK((parse(text) != NULL) == (depth == JSON_DEPTH));
	}
	SAME(document.error, "nested too deeply");
}

CASE(json_bounds_the_number_of_values)
{
	size_t size = 2 * JSON_VALUES + 3;
	char *text = malloc(size);

	memset(text, '1', size);
	for (size_t i = 0; i < size; i += 2)
		text[i] = ',';
	text[0] = '[';
	text[size - 1] = ']';
	CHECK(json_parse(&document, text, size) == NULL);
	SAME(document.error, "too many values");
	free(text);
}

CASE(json_quote_round_trips)
{
	char quoted[64];
	const char *text = "a\"b\\c\n\x01\xc3\xa9";

	CHECK(json_quote(quoted, sizeof(quoted), text));
	SAME(parse(quoted)->string, text);
	CHECK(!json_quote(quoted, 8, "1234567"));
}

CASE(mount_splits_flags_from_data)
{
	struct mount_options options = {0};
	const char *const given[] = {"nosuid", "nodev", "noexec", "relatime", "size=10%", "mode=755", "defaults"};

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		CHECK(mount_option(&options, given[i]));
	CHECK(options.flags == (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME) && options.propagation == 0);
	SAME(options.data, "size=10%,mode=755");
}

CASE(mount_later_option_undoes_earlier)
{
	struct mount_options options = {0};

	mount_option(&options, "ro");
	mount_option(&options, "noexec");
	mount_option(&options, "rw");
	mount_option(&options, "exec");
	mount_option(&options, "rbind");
	CHECK(options.flags == (MS_BIND | MS_REC));
}

CASE(mount_keeps_propagation_apart)
{
	struct mount_options options = {0};

	mount_option(&options, "remount");
	mount_option(&options, "private");
	CHECK(options.flags == MS_REMOUNT && options.propagation == MS_PRIVATE);
}

CASE(mount_refuses_data_beyond_a_page)
{
	struct mount_options options = {0};
	char option[MOUNT_DATA];

	memset(option, 'x', sizeof(option));
	option[sizeof(option) - 1] = '\0';
	CHECK(!mount_option(&options, option));
	option[2000] = '\0';
	CHECK(mount_option(&options, option) && mount_option(&options, option) && !mount_option(&options, option));
}

CASE(backoff_is_at_once_then_doubles_to_a_cap)
{
	static const int64_t expected[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
	struct backoff backoff = {0};

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		CHECK(backoff_next(&backoff, 50) == expected[i]);
}

CASE(backoff_begins_anew_after_a_long_life)
{
	struct backoff backoff = {0};

	for (int i = 0; i < 8; i++)
		backoff_next(&backoff, 0);
	CHECK(backoff_next(&backoff, BACKOFF_RESET_MS - 1) > 0);
	CHECK(backoff_next(&backoff, BACKOFF_RESET_MS) == 0 && backoff_next(&backoff, 0) == BACKOFF_FIRST_MS);
}

static struct container *fill(struct containers *all, const char *const names[][2], size_t count)
{
	static struct container list[8];

	*all = (struct containers){.list = list, .count = count};
	for (size_t i = 0; i < count; i++) {
		list[i] = (struct container){.section = SERVICES, .after = strdup(names[i][1]), .pidfd = -1};
		snprintf(list[i].name, sizeof(list[i].name), "%s", names[i][0]);
	}
	return list;
}

static void drop(struct containers *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->list[i].after);
}

CASE(order_waits_until_the_other_had_its_start)
{
	struct containers all;
	struct container *list = fill(&all, (const char *const[][2]){{"a", "b, c"}, {"b", ""}, {"c", "none"}}, 3);

	containers_check_order(&all);
	CHECK(!container_turn(&all, &list[0]) && container_turn(&all, &list[1]) && container_turn(&all, &list[2]));
	list[1].state = RUNNING;
	list[2].state = STARTING;
	CHECK(!container_turn(&all, &list[0]));
	list[2].state = FAILED;
	CHECK(container_turn(&all, &list[0]));
	drop(&all);
}

CASE(order_drops_circles)
{
	struct containers all;
	struct container *list = fill(&all, (const char *const[][2]){{"a", "b"}, {"b", "a"}, {"c", "c"}, {"d", "e"}, {"e", ""}}, 5);

	containers_check_order(&all);
	CHECK(container_turn(&all, &list[0]) && container_turn(&all, &list[1]) && container_turn(&all, &list[2]));
	CHECK(!container_turn(&all, &list[3]) && container_turn(&all, &list[4]));
	drop(&all);
}

static void annotate(struct container *container, const char *text)
{
	free(container->after);
	*container = (struct container){.name = "x"};
	container_annotate(container, text, strlen(text));
}

CASE(annotations_set_policy_and_order)
{
	struct container x = {0};

	annotate(&x, "{\"annotations\": {\"org.mobyproject.moby.restart\": \"on-failure\", \"org.mobyproject.moby.after\": \"a,b\"}}");
	CHECK(x.policy == ON_FAILURE);
	SAME(x.after, "a,b");
	annotate(&x, "{\"annotations\": {\"org.mobyproject.moby.restart\": \"never\"}}");
	CHECK(x.policy == NEVER);
	annotate(&x, "{\"annotations\": {\"org.mobyproject.moby.restart\": \"sometimes\"}}");
	CHECK(x.policy == ALWAYS);
	annotate(&x, "not json");
	CHECK(x.policy == ALWAYS);
	SAME(x.after, "");
	free(x.after);
}

CASE(control_parses_requests)
{
	struct request request;

	CHECK(control_parse("restart nginx", &request) && request.verb == VERB_RESTART);
	SAME(request.name, "nginx");
	CHECK(control_parse("poweroff", &request) && request.verb == VERB_POWEROFF);
}

CASE(control_refuses_other_lines)
{
	struct request request;
	char line[NAME_MAX + 32] = "start ";

	memset(line + 6, 'x', NAME_MAX + 1);
	CHECK(!control_parse(line, &request));
	CHECK(!control_parse("", &request) && !control_parse("start", &request) && !control_parse("start ", &request));
	CHECK(!control_parse("star nginx", &request) && !control_parse("starts nginx", &request));
	CHECK(!control_parse("poweroff now", &request) && !control_parse("start ../x", &request));
}

CASE(term_is_not_sent_to_a_namespace_init_without_a_handler)
{
	CHECK(!life_heeds_term("Name:\tx\nNSpid:\t70\t1\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000000000\n"));
	CHECK(life_heeds_term("Name:\tx\nNSpid:\t70\t1\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000004000\n"));
	CHECK(life_heeds_term("Name:\tx\nNSpid:\t70\t1\nSigBlk:\t0000000000004000\nSigCgt:\t0000000000000000\n"));
	CHECK(life_heeds_term("Name:\tx\nNSpid:\t70\nSigBlk:\t0000000000000000\nSigCgt:\t0000000000000000\n"));
}

CASE(modules_dep_lines_are_found_by_name)
{
	const char *dep = "kernel/fs/x/squashfs2.ko: kernel/a.ko\nkernel/fs/squashfs/squashfs.ko: kernel/b.ko kernel/c.ko\n"
		"kernel/net/virtio_net.ko.xz:\nloop.ko:\nkernel/broken\n";

	SAME(modules_line(dep, "squashfs"), strstr(dep, "kernel/fs/squashfs"));
	SAME(modules_line(dep, "virtio-net"), strstr(dep, "kernel/net"));
	SAME(modules_line(dep, "loop"), strstr(dep, "loop.ko"));
	CHECK(modules_line(dep, "squash") == NULL);
	CHECK(modules_line(dep, "b") == NULL);
	CHECK(modules_line(dep, "broken") == NULL);
	CHECK(modules_line("", "loop") == NULL);
}

CASE(mounts_at_one_place_are_counted)
{
	const char *text = "25 1 0:2 / / rw shared:1 - rootfs none rw\n"
		"30 25 7:0 / /c/a/rootfs ro - squashfs /dev/loop0 ro\n"
		"31 30 7:0 / /c/a/rootfs ro - squashfs /dev/loop0 ro\n"
		"32 31 0:9 / /c/a/rootfs/dev rw - tmpfs none rw\nshort\n33 25 0:9 / /c/a rw\n";

	CHECK(mounts_at(text, "/c/a/rootfs") == 2);
	CHECK(mounts_at(text, "/c/a/rootfs/dev") == 1);
	CHECK(mounts_at(text, "/c/a") == 1);
	CHECK(mounts_at(text, "/c") == 0);
	CHECK(mounts_at("", "/") == 0);
}

CASE(an_image_belongs_beside_itself_without_its_suffix)
{
	char place[PATH_MAX], longest[PATH_MAX + 16];

	CHECK(image_place("containers/services/a/lower.squashfs", place));
	SAME(place, "containers/services/a/lower");
	CHECK(!image_place("lower", place));
	CHECK(!image_place(".squashfs", place));
	CHECK(!image_place("lower.squashfs.1", place));
	memset(longest, 'x', sizeof(longest));
	strcpy(longest + PATH_MAX, ".squashfs");
	CHECK(!image_place(longest, place));
}

CASE(modules_take_parameters_from_the_command_line)
{
	char out[64];
	const char *line = "quiet virtio_net.napi_tx=0 virtio-net.csum=1 virtio_network.x=1 a.virtio_net.b=1 virtio_net\n";

	CHECK(modules_parameters("kernel/drivers/net/virtio_net.ko.xz", line, out, sizeof(out)));
	SAME(out, "napi_tx=0 csum=1");
	CHECK(modules_parameters("kernel/x/loop.ko", line, out, sizeof(out)));
	SAME(out, "");
	CHECK(!modules_parameters("virtio_net.ko", line, out, 12));
}

CASE(consoles_are_read_from_the_command_line)
{
	char path[PATH_MAX];
	const char *line = "console=tty0 quiet console=ttyS0,115200n8 xconsole=no\n";

	CHECK(host_console(line, 0, path));
	SAME(path, "/dev/tty0");
	CHECK(host_console(line, 1, path));
	SAME(path, "/dev/ttyS0");
	CHECK(!host_console(line, 2, path) && !host_console("", 0, path));
}

CASE(hooks_leave_out_what_svc_does)
{
	CHECK(hooks_replaced("010-onboot", NULL) && hooks_replaced("x", "/usr/bin/service"));
	CHECK(!hooks_replaced("002-logging", NULL) && !hooks_replaced("y", "/usr/bin/services"));
}

CASE(command_line_words_are_whole)
{
	CHECK(cmdline_has("a moby.debug b", "moby.debug") && cmdline_has("moby.debug\n", "moby.debug"));
	CHECK(!cmdline_has("moby.debugger xmoby.debug", "moby.debug"));
}

CASE(console_text_cannot_drive_a_terminal)
{
	char text[] = "a\x1b[2J\r\x07\tb\xc3\xa9\xc2\x9b\x7f\n";

	console_clean(text, sizeof(text) - 1);
	SAME(text, "a?[2J??\tb\xc3\xa9???\n");
}

CASE(status_round_trips)
{
	struct containers all, copy;
	struct container *list = fill(&all, (const char *const[][2]){{"a\"b", ""}, {"b", ""}, {"c", ""}}, 3);
	size_t size;

	list[0].state = RUNNING;
	list[0].pid = 77;
	list[0].ticks = 12345678901;
	list[0].started_s = 1500000000;
	list[0].started_ms = 4321;
	list[0].prepared = true;
	list[1].state = RESTARTING;
	list[1].ending = KNOWN_ENDING;
	list[1].status = 3 << 8;
	list[1].restarts = 9;
	list[2].ending = KNOWN_ENDING;
	list[2].status = SIGKILL;
	char *text = status_text(&all, "services", &size);
	CHECK(strstr(text, "\"2017-07-14T02:40:00Z\"") != NULL);
	drop(&all);
	list = fill(&copy, (const char *const[][2]){{"a\"b", ""}, {"b", ""}, {"c", ""}}, 3);
	CHECK(status_apply(&copy, text, size));
	CHECK(list[0].state == RUNNING && list[0].pid == 77 && list[0].ticks == 12345678901 && list[0].prepared);
	CHECK(list[0].started_s == 1500000000 && list[0].started_ms == 4321 && list[0].ending == NO_ENDING);
	CHECK(list[1].state == RESTARTING && list[1].restarts == 9 && WEXITSTATUS(list[1].status) == 3);
	CHECK(WIFSIGNALED(list[2].status) && WTERMSIG(list[2].status) == SIGKILL);
	drop(&copy);
	free(text);
}

CASE(status_of_another_version_is_not_taken_over)
{
	struct containers all = {0};

	CHECK(!status_apply(&all, "{\"version\": 2}", 14) && !status_apply(&all, "{", 1));
}

static void write_text(const char *path, const char *text, int times)
{
	FILE *out = fopen(path, "w");

	while (times-- > 0)
		fputs(text, out);
	fclose(out);
}

CASE(long_log_is_cut_and_its_end_kept)
{
	int holder = logs_open("a.log");
	struct stat found;
	char *text;

	logs_rotate("a.log", 100);
	CHECK(stat("a.log.1", &found) < 0);
	for (int i = 0; i < 50; i++)
		dprintf(holder, "line %03d\n", i);
	logs_rotate("a.log", 90);
	CHECK(stat("a.log", &found) == 0 && found.st_size == 0);
	text = file_read("a.log.1", 1000, NULL);
	CHECK(strncmp(text, "line 040\n", 9) == 0 && strlen(text) == 90);
	free(text);
	dprintf(holder, "after\n"); /* the container goes on writing at the start, without a hole */
	text = file_read("a.log", 1000, NULL);
	SAME(text, "after\n");
	free(text);
	close(holder);
}

CASE(log_is_not_opened_through_a_link)
{
	CHECK(symlink("target", "b.log") == 0 && logs_open("b.log") < 0);
	CHECK(access("target", F_OK) < 0);
}

/* What logs_show prints for c.log. */
static char *shown(off_t start, int lines)
{
	int old = dup(2), out = open("shown", O_RDWR | O_CREAT | O_TRUNC, 0600);

	dup2(out, 2);
	logs_show("c.log", start, "c", lines);
	dup2(old, 2);
	close(out);
	close(old);
	return file_read("shown", 1 << 20, NULL);
}

CASE(last_lines_of_a_log_are_shown)
{
	write_text("c.log", "one\ntwo\nthree\n", 1);
	char *text = shown(0, 2);
	CHECK(strstr(text, "one") == NULL && strstr(text, "  c: two\n") != NULL && strstr(text, "  c: three\n") != NULL);
	free(text);
	text = shown(8, 10);
	CHECK(strstr(text, "two") == NULL && strstr(text, "three") != NULL);
	free(text);
	text = shown(99, 1);
	CHECK(strstr(text, "three") != NULL);
	free(text);
	write_text("c.log", "x\n", 100000);
	text = shown(0, 10);
	CHECK(strlen(text) < 1000);
	free(text);
}

CASE(file_replace_leaves_no_half_file)
{
	CHECK(file_replace("d", "new", 3) == 0 && access("d.new", F_OK) < 0);
	mkdir("e", 0700);
	CHECK(file_replace("e", "new", 3) < 0 && access("e.new", F_OK) < 0);
}

CASE(file_read_has_a_limit)
{
	write_text("f", "0123456789", 1000);
	CHECK(file_read("f", 9999, NULL) == NULL && errno == EFBIG);
	size_t size;
	char *text = file_read("f", 10000, &size);
	CHECK(text != NULL && size == 10000 && text[10000] == '\0');
	free(text);
}

CASE(directories_are_made_with_parents)
{
	CHECK(make_directories("g/h//i/") == 0 && access("g/h/i", F_OK) == 0 && make_directories("g/h/i") == 0);
	write_text("g/file", "", 1);
	CHECK(make_directories("g/file") < 0 && make_directories("g/file/x") < 0);
	CHECK(make_parent("j/k/l") == 0 && access("j/k", F_OK) == 0 && access("j/k/l", F_OK) < 0);
}

static bool is_inside(const char *path, const char *expected)
{
	struct stat found, wanted;
	int fd = directory_inside("root", path);
	bool good = fd >= 0 && fstat(fd, &found) == 0 && stat(expected, &wanted) == 0 && found.st_ino == wanted.st_ino;

	if (fd >= 0)
		close(fd);
	return good;
}

CASE(directory_inside_stays_in_the_root)
{
	CHECK(make_directories("root/real") == 0 && make_directories("outside") == 0);
	CHECK(symlink("/outside", "root/absolute") == 0 && symlink("../../outside", "root/relative") == 0);
	CHECK(symlink("real", "root/good") == 0 && make_directories("root/outside") == 0);
	CHECK(is_inside("a/b/c", "root/a/b/c") && is_inside("/a/b", "root/a/b") && is_inside("", "root"));
	CHECK(is_inside("good/new", "root/real/new") && is_inside("..", "root") && is_inside("../x", "root/x"));
	CHECK(is_inside("absolute/y", "root/outside/y") && is_inside("relative/z", "root/outside/z"));
	CHECK(access("outside/y", F_OK) < 0 && access("outside/z", F_OK) < 0);
	write_text("root/file", "", 1);
	CHECK(directory_inside("root", "file") < 0 && directory_inside("root", "file/x") < 0);
}

CASE(process_start_time_is_found)
{
	CHECK(process_ticks(getpid()) > 0 && process_ticks(0x3fffffff) < 0);
}

static unsigned short at16(const struct link_message *message, size_t offset)
{
	unsigned short value;

	memcpy(&value, message->data + offset, sizeof(value));
	return value;
}

/* The attribute of `type` between two offsets: where its value begins, 0 for none; its size without the head. */
static size_t find_attribute(const struct link_message *message, size_t from, size_t to, int type, size_t *size)
{
	while (from + 4 <= to) {
		size_t whole = at16(message, from);

		if (whole < 4 || from + whole > to)
			return 0;
		*size = whole - 4;
		if (at16(message, from + 2) == type)
			return from + 4;
		from += (whole + 3) & ~(size_t)3;
	}
	return 0;
}

CASE(link_messages_nest_their_attributes)
{
	enum { HEAD = 32, LINK_HEAD = 16, IFNAME = 3, LINKINFO = 18, SPACE = 28 };
	struct link_message message;
	size_t size, inner;
	unsigned whole;

	link_make(&message, "veth", "eth0", "peer-of-eth0", 7);
	memcpy(&whole, message.data, sizeof(whole));
	CHECK(whole == message.size && at16(&message, 4) == 16 && at16(&message, 6) == (0x1 | 0x4 | 0x200 | 0x400));
	size_t name = find_attribute(&message, HEAD, message.size, IFNAME, &size);
	CHECK(name != 0 && size == 5);
	SAME((const char *)message.data + name, "eth0");
	size_t space = find_attribute(&message, HEAD, message.size, SPACE, &size);
	CHECK(space != 0 && size == 4 && at16(&message, space) == 7);
	size_t info = find_attribute(&message, HEAD, message.size, LINKINFO, &size);
	size_t kind = find_attribute(&message, info, info + size, 1, &inner);
	CHECK(kind != 0 && inner == 5);
	SAME((const char *)message.data + kind, "veth");
	size_t data = find_attribute(&message, info, info + size, 2, &inner);
	size_t other = find_attribute(&message, data, data + inner, 1, &size);
	size_t peer = find_attribute(&message, other + LINK_HEAD, other + size, IFNAME, &inner);
	CHECK(peer != 0 && inner == 13);
	SAME((const char *)message.data + peer, "peer-of-eth0");
}

CASE(link_messages_have_only_what_is_asked)
{
	struct link_message message;
	size_t size;
	int index;

	link_make(&message, "dummy", "d0", "", -1);
	CHECK(find_attribute(&message, 32, message.size, 28, &size) == 0);
	size_t info = find_attribute(&message, 32, message.size, 18, &size);
	CHECK(info != 0 && find_attribute(&message, info, info + size, 2, &size) == 0);
	link_move(&message, 9, 5);
	memcpy(&index, message.data + 20, sizeof(index));
	CHECK(index == 9 && at16(&message, 6) == (0x1 | 0x4));
	CHECK(find_attribute(&message, 32, message.size, 28, &size) == 36 && size == 4);
	link_rename(&message, 9, "new");
	memcpy(&index, message.data + 20, sizeof(index));
	CHECK(index == 9 && find_attribute(&message, 32, message.size, 3, &size) == 36 && size == 4);
	SAME((const char *)message.data + 36, "new");
}

CASE(link_names_are_those_the_kernel_takes)
{
	CHECK(link_name_fits("eth0") && link_name_fits("a.b") && link_name_fits("0123456789abcde"));
	CHECK(!link_name_fits("") && !link_name_fits("0123456789abcdef") && !link_name_fits("a/b"));
	CHECK(!link_name_fits(".") && !link_name_fits("..") && !link_name_fits("a b") && !link_name_fits("a:1"));
	/* The longest of all still fit in a message. */
	struct link_message message;
	char longest[LINK_KIND_MAX + 1];

	memset(longest, 'k', LINK_KIND_MAX);
	longest[LINK_KIND_MAX] = '\0';
	link_make(&message, longest, "0123456789abcde", "0123456789abcde", 1 << 30);
	CHECK(message.size <= LINK_MESSAGE);
}

int main(int argc, char *argv[])
{
	for (size_t i = 0; argc == 2 && i < case_count; i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			json_free(&document);
			return failures != 0;
		}
	}
	fputs("usage: unit CASE\n", stderr);
	return 2;
}

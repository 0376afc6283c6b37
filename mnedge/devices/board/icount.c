/* TCG plugin for QEMU (plugin API version 1): instructions executed between roi_begin() and roi_end() of the
 * guest, by function, and by layer where layer_mark_N() is called before each. Debian ships QEMU with plugins but without qemu-plugin.h, hence the declarations here. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*callback)(unsigned, void *), int flags, void *data);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *insn);
void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct function {
    struct function *next;
    uint64_t instructions;
    char name[];
};

struct block {
    struct function *function;
    uint64_t instructions;
    int edge;   /* +1 starts the region of interest, -1 ends it */
    long layer; /* that begins here, or -1 */
};

static struct function *functions;
static bool inside;
static uint64_t runs;

#define MARK "layer_mark_"
enum { MOST_LAYERS = 4096 };
static uint64_t layers[MOST_LAYERS];
static long current; /* the layer under way, or -1 */

static struct function *find(const char *name)
{
    for (struct function *entry = functions; entry != NULL; entry = entry->next) {
        if (strcmp(entry->name, name) == 0) {
            return entry;
        }
    }
    struct function *const entry = calloc(1, sizeof *entry + strlen(name) + 1);
    strcpy(entry->name, name);
    entry->next = functions;
    functions = entry;
    return entry;
}

static void executed(unsigned cpu, void *data)
{
    (void)cpu;
    const struct block *const block = data;
    if (block->edge != 0) {
        inside = block->edge > 0;
        runs += block->edge > 0;
        current = -1;
    } else if (block->layer >= 0) {
        /* Neither the mark nor the call of it is the program's own. */
        if (current >= 0 && layers[current] > 0) {
            layers[current]--;
        }
        current = block->layer;
    } else if (inside) {
        block->function->instructions += block->instructions;
        if (current >= 0) {
            layers[current] += block->instructions;
        }
    }
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    const char *const symbol = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0));
    const char *const name = symbol != NULL ? symbol : "?";
    struct block *const block = calloc(1, sizeof *block);
    block->function = find(name);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->edge = strcmp(name, "roi_begin") == 0 ? 1 : strcmp(name, "roi_end") == 0 ? -1 : 0;
    block->layer = strncmp(name, MARK, strlen(MARK)) == 0 ? atol(name + strlen(MARK)) : -1;
    if (block->layer >= MOST_LAYERS) {
        block->layer = -1;
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    char line[512];
    snprintf(line, sizeof line, "icount runs %" PRIu64 "\n", runs);
    qemu_plugin_outs(line);
    for (const struct function *entry = functions; entry != NULL; entry = entry->next) {
        if (entry->instructions != 0) {
            snprintf(line, sizeof line, "icount %" PRIu64 " %s\n", entry->instructions, entry->name);
            qemu_plugin_outs(line);
        }
    }
    for (int layer = 0; layer < MOST_LAYERS; layer++) {
        if (layers[layer] != 0) {
            snprintf(line, sizeof line, "icount layer %d %" PRIu64 "\n", layer, layers[layer]);
            qemu_plugin_outs(line);
        }
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}

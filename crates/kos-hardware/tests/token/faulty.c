/* A PKCS#11 module that is SoftHSM with faults: each is on while a file of its name is in the folder $KOS_FAULTS.
 *
 *   removed   C_Sign answers CKR_DEVICE_REMOVED
 *   lies      C_Sign changes the last bit of its signature
 *   locked    C_Login answers CKR_PIN_LOCKED
 *   changed   C_Login answers CKR_PIN_INCORRECT
 *
 * Each call of C_Login appends a byte to the file `logins` there.
 *
 * The function list of PKCS#11 2.40 is a version and 68 pointers; 18 is C_Login, 43 is C_Sign.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long ulong_t;
typedef ulong_t (*login_t)(ulong_t, ulong_t, unsigned char *, ulong_t);
typedef ulong_t (*sign_t)(ulong_t, unsigned char *, ulong_t, unsigned char *, ulong_t *);

struct list {
    unsigned char major, minor;
    void *function[68];
};

static struct list ours;
static struct list *theirs;

static FILE *file(const char *name, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("KOS_FAULTS"), name);
    return fopen(path, mode);
}

static int is_on(const char *fault) {
    FILE *found = file(fault, "r");
    if (found) fclose(found);
    return found != NULL;
}

static ulong_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length) {
    FILE *logins = file("logins", "a");
    fputc('.', logins);
    fclose(logins);
    if (is_on("locked")) return 0xa4;
    if (is_on("changed")) return 0xa0;
    return ((login_t)theirs->function[18])(session, user, pin, length);
}

static ulong_t sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *room) {
    if (is_on("removed")) return 0x32;
    ulong_t answer = ((sign_t)theirs->function[43])(session, data, length, signature, room);
    if (answer == 0 && signature && is_on("lies")) signature[*room - 1] ^= 1;
    return answer;
}

ulong_t C_GetFunctionList(struct list **list) {
    void *library = dlopen("libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) return 5;
    ulong_t (*get)(struct list **) = (ulong_t (*)(struct list **))dlsym(library, "C_GetFunctionList");
    ulong_t answer = get(&theirs);
    if (answer) return answer;
    memcpy(&ours, theirs, sizeof ours);
    ours.function[18] = (void *)login;
    ours.function[43] = (void *)sign;
    *list = &ours;
    return 0;
}

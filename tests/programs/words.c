/* A program of the tests' Alpine packages: a library, a plugin, a helper and a program that needs all three and a list.
   Built four times, each with one of LIBRARY, PLUGIN, HELPER and PROGRAM. */
#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int words_in(const char *line);

#ifdef LIBRARY
int words_in(const char *line) {
    int words = 0;
    for (; *line; line++)
        words += !isspace((unsigned char)line[0]) && (!line[1] || isspace((unsigned char)line[1]));
    return words;
}
#endif

#ifdef PLUGIN
int filter(char *line) {
    for (char *c = line; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return words_in(line);
}
#endif

#ifdef HELPER
int main(int count, char **words) {
    printf("helper %d\n", count > 1 ? words_in(words[1]) : 0);
    return 0;
}
#endif

#ifdef PROGRAM
int main(void) {
    char line[100];
    FILE *list = fopen("/usr/share/words/list", "r");
    if (!list || !fgets(line, sizeof line, list)) {
        perror("/usr/share/words/list");
        return 1;
    }
    void *plugin = dlopen("/usr/lib/words/upper.so", RTLD_NOW);
    int (*filter)(char *) = plugin ? (int (*)(char *))dlsym(plugin, "filter") : NULL;
    if (!filter) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    int words = filter(line);
    printf("%d %s", words, line);
    fflush(stdout);
    execl("/usr/libexec/words/helper", "helper", "one two", (char *)NULL);
    perror("/usr/libexec/words/helper");
    return 1;
}
#endif

/* A Modbus device for tests, by libmodbus: a second make beside pymodbus.
 *
 *     libmodbus tcp            on a free port of the loopback interface
 *     libmodbus rtu PATH       unit 1 on a serial port, 19200 8N1
 *
 * Prints one line of JSON once it answers: its port, and what it holds. It ends when its standard input ends. */

#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *end_with_input(void *unused) {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    _exit(0);
    return unused;
}

static void fill(modbus_mapping_t *map) {
    /* -21.37 is 0xC1AAF5C3. libmodbus's own functions for the four orders depend on the host's order up to 3.1.6. */
    static const uint16_t floats[] = {0xC1AA, 0xF5C3, 0xF5C3, 0xC1AA, 0xAAC1, 0xC3F5, 0xC3F5, 0xAAC1};
    memcpy(map->tab_registers, floats, sizeof(floats));
    map->tab_registers[8] = 54321;
    map->tab_input_registers[9] = (uint16_t)-12345;
    map->tab_input_registers[10] = (uint16_t)((uint32_t)-1234567890 >> 16);
    map->tab_input_registers[11] = (uint16_t)((uint32_t)-1234567890 & 0xFFFF);
    map->tab_bits[3] = 1;
    map->tab_input_bits[4] = 1;
}

static void say(int port) {
    static const char *const orders[] = {"ABCD", "CDAB", "BADC", "DCBA"};
    printf("{\"port\": %d, \"streams\": [", port);
    for (int i = 0; i < 4; i++) {
        printf("{\"name\": \"f32/%s\", \"register\": \"holding:%d\", \"type\": \"f32\", \"order\": \"%s\", \"value\": -21.37}, ",
               orders[i], 2 * i, orders[i]);
    }
    printf("{\"name\": \"u16\", \"register\": \"holding:8\", \"type\": \"u16\", \"value\": 54321}, "
           "{\"name\": \"i16\", \"register\": \"input:9\", \"type\": \"i16\", \"value\": -12345}, "
           "{\"name\": \"i32\", \"register\": \"input:10\", \"type\": \"i32\", \"value\": -1234567890}, "
           "{\"name\": \"coil\", \"register\": \"coil:3\", \"value\": true}, "
           "{\"name\": \"discrete\", \"register\": \"discrete:4\", \"value\": true}, "
           "{\"name\": \"discrete/off\", \"register\": \"discrete:5\", \"value\": false}]}\n");
    fflush(stdout);
}

/* Answers on one connection, or on the line, until it ends. */
static void serve(modbus_t *modbus, modbus_mapping_t *map) {
    uint8_t query[MODBUS_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(modbus, query);
        if (length > 0) {
            modbus_reply(modbus, query, length, map);
        } else if (length == -1) {
            return;
        }
    }
}

int main(int count, char **arguments) {
    modbus_mapping_t *map = modbus_mapping_new(16, 16, 64, 64);
    if (map == NULL || count < 2) {
        return 1;
    }
    fill(map);
    pthread_t thread;
    pthread_create(&thread, NULL, end_with_input, NULL);
    if (strcmp(arguments[1], "rtu") == 0 && count == 3) {
        modbus_t *modbus = modbus_new_rtu(arguments[2], 19200, 'N', 8, 1);
        if (modbus == NULL || modbus_set_slave(modbus, 1) == -1 || modbus_connect(modbus) == -1) {
            fprintf(stderr, "%s: %s\n", arguments[2], modbus_strerror(errno));
            return 1;
        }
        say(0);
        for (;;) {
            serve(modbus, map);
        }
    }
    modbus_t *modbus = modbus_new_tcp("127.0.0.1", 0);
    int listening = modbus == NULL ? -1 : modbus_tcp_listen(modbus, 1);
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    if (listening == -1 || getsockname(listening, (struct sockaddr *)&address, &length) == -1) {
        fprintf(stderr, "cannot listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    say(ntohs(address.sin_port));
    while (modbus_tcp_accept(modbus, &listening) != -1) {
        serve(modbus, map);
        modbus_close(modbus);
    }
    return 0;
}

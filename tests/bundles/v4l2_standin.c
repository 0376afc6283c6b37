/* A camera of Video4Linux for programs that are started with this library preloaded: what opens $STANDIN_VIDEO gets a
   device whose pictures are the files $STANDIN_FRAMES/0, 1, … over and over, one every 20 ms. Numbers and layouts are
   those of the kernel's own header, so a program that has others is refused, as by the kernel. $STANDIN_KIND is MJPG,
   YUYV or H264, "busy" for a camera that is in use, or "node" for a device without pictures. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (1u << 20)
static int device = -1, queued[4], first, last, streams;
static unsigned frame;
static struct v4l2_pix_format pix;

static int open_device(void) {
    device = memfd_create("video", 0);
    if (ftruncate(device, 4 * BUFFER_BYTES)) return -1;
    return device;
}

static int is_device(const char *path) {
    const char *own = getenv("STANDIN_VIDEO");
    return own && !strcmp(path, own);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = va_arg(more, int);
    va_end(more);
    if (is_device(path)) return open_device();
    int (*own)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    return own(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = va_arg(more, int);
    va_end(more);
    return open64(path, flags, mode);
}

static int failed(int number) {
    errno = number;
    return -1;
}

static int dequeue(struct v4l2_buffer *buffer) {
    static struct timespec before;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const long passed_ms = (now.tv_sec - before.tv_sec) * 1000 + (now.tv_nsec - before.tv_nsec) / 1000000;
    if (!streams) return failed(EINVAL);
    if (first == last || passed_ms < 20) return failed(EAGAIN);
    before = now;
    char path[4096];
    snprintf(path, sizeof path, "%s/%u", getenv("STANDIN_FRAMES"), frame);
    FILE *file = fopen(path, "rb");
    if (!file) {
        frame = 0;
        snprintf(path, sizeof path, "%s/0", getenv("STANDIN_FRAMES"));
        file = fopen(path, "rb");
    }
    static char data[BUFFER_BYTES];
    const size_t bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    frame++;
    buffer->index = (unsigned)queued[first++ % 4];
    buffer->bytesused = (unsigned)bytes;
    buffer->flags = 0;
    if (pwrite(device, data, bytes, (off_t)buffer->index * BUFFER_BYTES) < 0) return failed(EIO);
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *given = va_arg(more, void *);
    va_end(more);
    if (fd != device || device < 0) {
        int (*own)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
        return own(fd, request, given);
    }
    const char *kind = getenv("STANDIN_KIND");
    switch ((unsigned)request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *about = given;
        memset(about, 0, sizeof *about);
        strcpy((char *)about->driver, "uvcvideo");
        strcpy((char *)about->bus_info, "usb-0000:01:00.0-1.2");
        about->device_caps = V4L2_CAP_STREAMING | (strcmp(kind, "node") ? V4L2_CAP_VIDEO_CAPTURE : 0x00800000);
        about->capabilities = V4L2_CAP_STREAMING | V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *described = given;
        if (described->index || described->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return failed(EINVAL);
        memcpy(&described->pixelformat, strcmp(kind, "busy") ? kind : "MJPG", 4);
        return 0;
    }
    case VIDIOC_S_FMT: {
        struct v4l2_format *format = given;
        if (!strcmp(kind, "busy")) return failed(EBUSY);
        if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return failed(EINVAL);
        /* A camera gives the size that it has. */
        if (format->fmt.pix.pixelformat == V4L2_PIX_FMT_YUYV) {
            format->fmt.pix.width = 16;
            format->fmt.pix.height = 8;
            format->fmt.pix.bytesperline = 40;
        }
        pix = format->fmt.pix;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *wanted = given;
        if (wanted->memory != V4L2_MEMORY_MMAP) return failed(EINVAL);
        wanted->count = 4;
        return 0;
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = given;
        if (buffer->index > 3) return failed(EINVAL);
        buffer->length = BUFFER_BYTES;
        buffer->m.offset = buffer->index * BUFFER_BYTES;
        return 0;
    }
    case VIDIOC_QBUF: {
        struct v4l2_buffer *buffer = given;
        if (buffer->index > 3 || last - first > 3) return failed(EINVAL);
        queued[last++ % 4] = (int)buffer->index;
        return 0;
    }
    case VIDIOC_DQBUF:
        return dequeue(given);
    case VIDIOC_STREAMON:
        streams = 1;
        return 0;
    }
    return failed(ENOTTY);
}

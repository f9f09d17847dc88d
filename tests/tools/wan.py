#!/usr/bin/env python3
"""A wide-area link on one machine: a TCP relay with delay, a rate limit and faults, that counts bytes.

    wan.py --listen 6102 --to 127.0.0.1:5102 --delay-ms 40 --mbit 100

--delay-ms N    one-way delay in each direction (a round trip is 2 N; a new connection costs one more)
--mbit N        rate limit of each direction, over all connections together
--cut-after N   close every connection hard (RST) once N bytes have gone upstream in total
--cuts N        how many times to do that (default 1); later connections pass
--stall-after N stop relaying, connection left open, once N bytes have gone upstream in total
--report FILE   where the counts go as JSON, on SIGTERM or SIGINT: connections, bytes up, bytes down
"""
import argparse, asyncio, json, signal, socket, struct, time

CHUNK = 64 * 1024


class Link:
    """One direction: a shared rate limit, and the bytes that have passed."""

    def __init__(self, mbit):
        self.rate = mbit * 1e6 / 8 if mbit else None
        self.free_at, self.bytes = 0.0, 0

    def reserve(self, n, now):
        """When the last of n bytes has been sent."""
        self.bytes += n
        if self.rate is None:
            return now
        self.free_at = max(now, self.free_at) + n / self.rate
        return self.free_at


class Relay:
    def __init__(self, a):
        self.a, self.up, self.down = a, Link(a.mbit), Link(a.mbit)
        self.connections, self.cuts_left, self.next_cut = 0, a.cuts if a.cut_after else 0, a.cut_after
        self.writers = set()

    async def serve(self, reader, writer):
        self.connections += 1
        host, port = self.a.to.rsplit(":", 1)
        await asyncio.sleep(self.a.delay_ms / 1000)
        try:
            r2, w2 = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        await asyncio.sleep(self.a.delay_ms / 1000)
        for w in (writer, w2):
            sock = w.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.writers.add(w)
        try:
            await asyncio.gather(self.pump(reader, w2, self.up, True), self.pump(r2, writer, self.down, False))
        except asyncio.CancelledError:
            pass  # the relay is being stopped
        self.writers -= {writer, w2}
        for w in (writer, w2):
            w.close()

    async def pump(self, reader, writer, link, upstream):
        queue = asyncio.Queue(maxsize=512)  # bytes in flight: 32 MiB at most

        async def deliver():
            while True:
                item = await queue.get()
                if item is None:
                    break
                at, data = item
                wait = at - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

        task = asyncio.create_task(deliver())
        try:
            while data := await reader.read(CHUNK):
                now = time.monotonic()
                sent = link.reserve(len(data), now)
                if upstream and self.cuts_left and link.bytes >= self.next_cut:
                    self.cut()
                    break
                if upstream and self.a.stall_after and link.bytes >= self.a.stall_after:
                    await asyncio.sleep(3600)
                await queue.put((sent + self.a.delay_ms / 1000, data))
                if sent - now > 0.02:
                    await asyncio.sleep(sent - now)
        except (ConnectionError, OSError):
            pass
        await queue.put(None)
        try:
            await task
        except (ConnectionError, OSError):
            writer.transport.abort()

    def cut(self):
        self.cuts_left -= 1
        self.next_cut += self.a.cut_after
        for w in list(self.writers):
            sock = w.get_extra_info("socket")
            if sock is not None:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass
            w.transport.abort()


async def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--listen", type=int, required=True)
    p.add_argument("--to", required=True)
    p.add_argument("--delay-ms", type=float, default=0)
    p.add_argument("--mbit", type=float, default=0)
    p.add_argument("--cut-after", type=int, default=0)
    p.add_argument("--cuts", type=int, default=1)
    p.add_argument("--stall-after", type=int, default=0)
    p.add_argument("--report")
    a = p.parse_args()
    relay, stop = Relay(a), asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", a.listen)
    await stop.wait()
    server.close()
    line = json.dumps({"connections": relay.connections, "up": relay.up.bytes, "down": relay.down.bytes})
    if a.report:
        with open(a.report, "w") as f:
            f.write(line + "\n")
    print(line, flush=True)


asyncio.run(main())

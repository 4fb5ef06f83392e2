"""A DNS server over UDP and TCP whose answers a test changes while it runs."""

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers from `records`.

    Attributes:
        records: (name, type) -> a list of texts, a response code, or None for silence. A name without
            any record does not exist.
        ttl_s: of every answer.
        asked: (name, type, transport) of every question.
        is_truncating: whether answers over UDP are cut, so that they have to be asked for over TCP.
    """

    def __init__(self):
        self.records = {}
        self.ttl_s = 1
        self.asked = []
        self.is_truncating = False

    async def start(self):
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), ("127.0.0.1", self.port))
        self.servers = [f"127.0.0.1:{self.port}"]

    async def stop(self):
        self._udp.close()
        self._tcp.close()
        await asyncio.sleep(0)

    def count(self, kind):
        return sum(asked[1] == kind for asked in self.asked)

    def answer(self, data, transport):
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        found = self.records.get((name, kind), [])
        if found is None:
            return None
        response = dns.message.make_response(query)
        if isinstance(found, dns.rcode.Rcode):
            response.set_rcode(found)
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif found and self.is_truncating and transport == "udp":
            response.flags |= dns.flags.TC
        elif found:
            response.answer.append(dns.rrset.from_text(question.name, self.ttl_s, "IN", kind, *found))
        return response.to_wire()

    async def _serve(self, reader, writer):
        length = int.from_bytes(await reader.readexactly(2))
        data = self.answer(await reader.readexactly(length), "tcp")
        if data is not None:
            writer.write(len(data).to_bytes(2) + data)
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server):
        self._server = server

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, address):
        answer = self._server.answer(data, "udp")
        if answer is not None:
            self._transport.sendto(answer, address)

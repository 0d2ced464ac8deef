"""Three messages with delays of their own: each leaves at its time, though the longest was sent first."""

import sys
import time

import pika

host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5672").rsplit(":", 1)
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()
channel.confirm_delivery()

# Nobody consumes from "tea.steeping". What expires there moves to "tea.ready".
channel.queue_declare("tea.ready", durable=True)
to_ready = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "tea.ready"}
channel.queue_declare("tea.steeping", durable=True, arguments=to_ready)

start = time.monotonic()
for tea, delay_ms in [("black", 3000), ("green", 1000), ("white", 2000)]:
    properties = pika.BasicProperties(delivery_mode=2, expiration=str(delay_ms))
    channel.basic_publish("", "tea.steeping", tea.encode(), properties)  # returns when it is on disk

for method, _, body in channel.consume("tea.ready"):
    print(f"{time.monotonic() - start:.1f} s: {body.decode()}")
    channel.basic_ack(method.delivery_tag)
    if method.delivery_tag == 3:
        break

channel.cancel()
channel.queue_delete("tea.steeping")
channel.queue_delete("tea.ready")
connection.close()

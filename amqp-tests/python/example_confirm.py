"""Shows what a confirm is worth: `publish`, then kill the broker, start it again, then `count`."""

import sys

import pika

COUNT = 1000
action = sys.argv[1] if len(sys.argv) > 1 else "publish"
host, port = (sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:5672").rsplit(":", 1)
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port)))
channel = connection.channel()

if action == "publish":
    channel.confirm_delivery()
    channel.queue_declare("confirmed", durable=True)
    for number in range(COUNT):
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "confirmed", str(number).encode(), properties)  # returns with the confirm
    print(f"{COUNT} confirmed")
else:
    waiting = channel.queue_declare("confirmed", passive=True).method.message_count
    print(f"{waiting} waiting")
    channel.queue_delete("confirmed")
connection.close()

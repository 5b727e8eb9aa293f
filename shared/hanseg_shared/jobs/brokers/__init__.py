"""The brokers that can carry messages: Redis and RabbitMQ, behind one seam."""

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageIdAdv;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Reader;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.TableView;
import org.apache.pulsar.client.api.schema.GenericRecord;

/** Payloads, batches, chunks, compression, schemas, readers. */
final class Messages {
    private Messages() {}

    /** A record for JSON and Avro. */
    public static class Reading {
        public String camera;
        public int frame;
    }

    /** A record whose field the old ones lack. */
    public static class Other {
        public String camera;
        public int frame;
        public double lens;
    }

    static void register(Map<String, Checks.Check> checks) {
        checks.put("message", Messages::message);
        checks.put("batch", Messages::batch);
        checks.put("chunk", Messages::chunk);
        checks.put("compression", Messages::compression);
        checks.put("json", place -> record(place, Schema.JSON(Reading.class)));
        checks.put("avro", place -> record(place, Schema.AVRO(Reading.class)));
        checks.put("autoConsume", Messages::autoConsume);
        checks.put("incompatible", Messages::incompatible);
        checks.put("reader", Messages::reader);
        checks.put("tableView", Messages::tableView);
        checks.put("nonPersistent", Messages::nonPersistent);
    }

    static Object message(Checks.Place place) throws Exception {
        try (Consumer<byte[]> consumer =
                        place.client().newConsumer().topic(place.topic()).subscriptionName("s").subscribe();
                Producer<byte[]> producer =
                        place.client().newProducer().topic(place.topic()).enableBatching(false).create()) {
            MessageId sent = producer.newMessage()
                    .key("k")
                    .orderingKey(new byte[] {1})
                    .property("a", "1")
                    .eventTime(1234567)
                    .value("hello".getBytes())
                    .send();
            Message<byte[]> got = consumer.receive(8, TimeUnit.SECONDS);
            consumer.acknowledge(got);
            return Map.of(
                    "text", new String(got.getData()),
                    "key", got.getKey(),
                    "properties", got.getProperties(),
                    "eventTime", got.getEventTime(),
                    "sameId", sent.equals(got.getMessageId()),
                    "sequence", got.getSequenceId(),
                    "redeliveries", got.getRedeliveryCount());
        }
    }

    static Object batch(Checks.Place place) throws Exception {
        try (Consumer<String> consumer = place.client()
                        .newConsumer(Schema.STRING)
                        .topic(place.topic())
                        .subscriptionName("s")
                        .subscribe();
                Producer<String> producer = place.client()
                        .newProducer(Schema.STRING)
                        .topic(place.topic())
                        .batchingMaxMessages(25)
                        .batchingMaxPublishDelay(1, TimeUnit.SECONDS)
                        .create()) {
            for (int n = 0; n < 100; n++) {
                producer.sendAsync("m" + n);
            }
            producer.flush();
            List<Integer> sizes = new ArrayList<>();
            List<Long> entries = new ArrayList<>();
            boolean inOrder = true;
            for (int n = 0; n < 100; n++) {
                Message<String> got = consumer.receive(8, TimeUnit.SECONDS);
                MessageIdAdv id = (MessageIdAdv) got.getMessageId();
                inOrder &= got.getValue().equals("m" + n) && id.getBatchIndex() == n % 25;
                if (n % 25 == 0) {
                    sizes.add(id.getBatchSize());
                    entries.add(id.getEntryId());
                }
            }
            consumer.acknowledgeCumulative(consumer.getLastMessageIds().get(0));
            return Map.of("sizes", sizes, "entries", entries, "inOrder", inOrder);
        }
    }

    static Object chunk(Checks.Place place) throws Exception {
        byte[] payload = new byte[12 * 1024 * 1024];
        for (int n = 0; n < payload.length; n++) {
            payload[n] = (byte) (n * 31);
        }
        try (Consumer<byte[]> consumer =
                        place.client().newConsumer().topic(place.topic()).subscriptionName("s").subscribe();
                Producer<byte[]> producer = place.client()
                        .newProducer()
                        .topic(place.topic())
                        .enableBatching(false)
                        .enableChunking(true)
                        .create()) {
            producer.send(payload);
            Message<byte[]> got = consumer.receive(20, TimeUnit.SECONDS);
            consumer.acknowledge(got);
            return Map.of("same", Arrays.equals(payload, got.getData()));
        }
    }

    static Object compression(Checks.Place place) throws Exception {
        Map<String, Boolean> seen = new TreeMap<>();
        byte[] payload = "many times the same ".repeat(200).getBytes();
        for (CompressionType type : CompressionType.values()) {
            String topic = place.topic() + "-" + type;
            try (Consumer<byte[]> consumer =
                            place.client().newConsumer().topic(topic).subscriptionName("s").subscribe();
                    Producer<byte[]> producer =
                            place.client().newProducer().topic(topic).compressionType(type).create()) {
                producer.send(payload);
                Message<byte[]> got = consumer.receive(8, TimeUnit.SECONDS);
                seen.put(type.name(), Arrays.equals(payload, got.getData()));
            }
        }
        return seen;
    }

    private static Reading reading() {
        Reading value = new Reading();
        value.camera = "küche";
        value.frame = 7;
        return value;
    }

    static Object record(Checks.Place place, Schema<Reading> schema) throws Exception {
        try (Consumer<Reading> consumer =
                        place.client().newConsumer(schema).topic(place.topic()).subscriptionName("s").subscribe();
                Producer<Reading> producer = place.client().newProducer(schema).topic(place.topic()).create()) {
            producer.send(reading());
            Message<Reading> got = consumer.receive(8, TimeUnit.SECONDS);
            long version = 0;
            for (byte part : got.getSchemaVersion()) {
                version = version << 8 | (part & 0xff);
            }
            return Map.of("camera", got.getValue().camera, "frame", got.getValue().frame, "version", version);
        }
    }

    static Object autoConsume(Checks.Place place) throws Exception {
        try (Producer<Reading> producer =
                        place.client().newProducer(Schema.AVRO(Reading.class)).topic(place.topic()).create();
                Consumer<GenericRecord> consumer = place.client()
                        .newConsumer(Schema.AUTO_CONSUME())
                        .topic(place.topic())
                        .subscriptionName("s")
                        .subscribe()) {
            producer.send(reading());
            GenericRecord got = consumer.receive(8, TimeUnit.SECONDS).getValue();
            return Map.of("camera", got.getField("camera").toString(), "frame", got.getField("frame"));
        }
    }

    static Object incompatible(Checks.Place place) throws Exception {
        place.client().newProducer(Schema.AVRO(Reading.class)).topic(place.topic()).create().close();
        try {
            place.client().newProducer(Schema.AVRO(Other.class)).topic(place.topic()).create().close();
            return "taken";
        } catch (PulsarClientException error) {
            return error.getClass().getSimpleName();
        }
    }

    static Object reader(Checks.Place place) throws Exception {
        List<MessageId> ids = new ArrayList<>();
        try (Producer<String> producer =
                place.client().newProducer(Schema.STRING).topic(place.topic()).enableBatching(false).create()) {
            for (int n = 0; n < 10; n++) {
                ids.add(producer.send("m" + n));
            }
        }
        List<String> all = new ArrayList<>();
        List<String> behind = new ArrayList<>();
        List<String> from = new ArrayList<>();
        read(place, MessageId.earliest, false, all);
        read(place, ids.get(7), false, behind);
        read(place, ids.get(7), true, from);
        try (Reader<String> reader = place.client()
                .newReader(Schema.STRING)
                .topic(place.topic())
                .startMessageId(MessageId.latest)
                .create()) {
            boolean any = reader.hasMessageAvailable();
            reader.seek(ids.get(8));
            String next = reader.readNext(8, TimeUnit.SECONDS).getValue();
            return Map.of("all", all.size(), "behind", behind, "from", from, "atEnd", any, "sought", next);
        }
    }

    private static void read(Checks.Place place, MessageId start, boolean inclusive, List<String> into)
            throws Exception {
        var builder = place.client().newReader(Schema.STRING).topic(place.topic()).startMessageId(start);
        try (Reader<String> reader = (inclusive ? builder.startMessageIdInclusive() : builder).create()) {
            while (reader.hasMessageAvailable()) {
                into.add(reader.readNext(8, TimeUnit.SECONDS).getValue());
            }
        }
    }

    static Object tableView(Checks.Place place) throws Exception {
        try (Producer<String> producer =
                place.client().newProducer(Schema.STRING).topic(place.topic()).create()) {
            producer.newMessage().key("a").value("1").send();
            producer.newMessage().key("b").value("2").send();
            producer.newMessage().key("a").value("3").send();
            try (TableView<String> view =
                    place.client().newTableViewBuilder(Schema.STRING).topic(place.topic()).create()) {
                return new TreeMap<>(Map.of("a", view.get("a"), "b", view.get("b")));
            }
        }
    }

    static Object nonPersistent(Checks.Place place) throws Exception {
        String topic = "non-" + place.topic();
        try (Producer<byte[]> producer = place.client().newProducer().topic(topic).create()) {
            producer.send("nobody".getBytes());
            try (Consumer<byte[]> consumer = place.client()
                    .newConsumer()
                    .topic(topic)
                    .subscriptionName("s")
                    .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest)
                    .subscribe()) {
                producer.send("live".getBytes());
                return new String(consumer.receive(8, TimeUnit.SECONDS).getData());
            }
        }
    }
}

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerAccessMode;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Reader;
import org.apache.pulsar.client.api.Schema;

/** Names, sequence ids and access modes of producers. */
final class Producers {
    private Producers() {}

    static void register(Map<String, Checks.Check> checks) {
        checks.put("deduplication", Producers::deduplication);
        checks.put("nameTaken", Producers::nameTaken);
        checks.put("exclusiveAccess", Producers::exclusiveAccess);
        checks.put("waitForExclusive", Producers::waitForExclusive);
        checks.put("fencing", Producers::fencing);
        checks.put("missingNamespace", Producers::missingNamespace);
        checks.put("manyInFlight", Producers::manyInFlight);
    }

    private static ProducerBuilder<String> producer(Checks.Place place) {
        return place.client().newProducer(Schema.STRING).topic(place.topic()).enableBatching(false);
    }

    private static List<String> stored(Checks.Place place) throws Exception {
        List<String> found = new ArrayList<>();
        try (Reader<String> reader = place.client()
                .newReader(Schema.STRING)
                .topic(place.topic())
                .startMessageId(MessageId.earliest)
                .create()) {
            while (reader.hasMessageAvailable()) {
                found.add(reader.readNext(8, TimeUnit.SECONDS).getValue());
            }
        }
        return found;
    }

    static Object deduplication(Checks.Place place) throws Exception {
        long last;
        try (Producer<String> producer =
                producer(place).producerName("p").sendTimeout(0, TimeUnit.SECONDS).create()) {
            for (long sequence : new long[] {1, 2, 3, 2}) {
                producer.newMessage().sequenceId(sequence).value("m" + sequence).send();
            }
        }
        try (Producer<String> producer =
                producer(place).producerName("p").sendTimeout(0, TimeUnit.SECONDS).create()) {
            last = producer.getLastSequenceId();
            producer.newMessage().sequenceId(3).value("again").send();
            producer.newMessage().sequenceId(4).value("m4").send();
        }
        return Map.of("last", last, "stored", stored(place));
    }

    private static String refusal(ProducerBuilder<String> builder) throws Exception {
        try {
            builder.create().close();
            return "taken";
        } catch (PulsarClientException error) {
            return error.getClass().getSimpleName();
        }
    }

    static Object nameTaken(Checks.Place place) throws Exception {
        try (Producer<String> held = producer(place).producerName("p").create()) {
            return refusal(producer(place).producerName("p"));
        }
    }

    static Object exclusiveAccess(Checks.Place place) throws Exception {
        try (Producer<String> held =
                producer(place).accessMode(ProducerAccessMode.Exclusive).create()) {
            return List.of(
                    refusal(producer(place).accessMode(ProducerAccessMode.Exclusive)), refusal(producer(place)));
        }
    }

    static Object waitForExclusive(Checks.Place place) throws Exception {
        Producer<String> held =
                producer(place).accessMode(ProducerAccessMode.WaitForExclusive).create();
        CompletableFuture<Producer<String>> waiting =
                producer(place).accessMode(ProducerAccessMode.WaitForExclusive).createAsync();
        Thread.sleep(300);
        boolean early = waiting.isDone();
        held.send("first");
        held.close();
        try (Producer<String> next = waiting.get(8, TimeUnit.SECONDS)) {
            next.send("second");
        }
        return Map.of("early", early, "stored", stored(place));
    }

    /** The fenced one's connection is closed, so it has a client of its own. */
    static Object fencing(Checks.Place place) throws Exception {
        try (PulsarClient other = PulsarClient.builder().serviceUrl(place.url()).build()) {
            return fencing(place, new Checks.Place(other, place.admin(), place.url(), place.topic()));
        }
    }

    private static Object fencing(Checks.Place place, Checks.Place fenced) throws Exception {
        Producer<String> old =
                producer(fenced).accessMode(ProducerAccessMode.Exclusive).create();
        old.send("old");
        try (Producer<String> next =
                producer(place).accessMode(ProducerAccessMode.ExclusiveWithFencing).create()) {
            next.send("new");
            String late;
            try {
                old.send("late");
                late = "taken";
            } catch (PulsarClientException error) {
                late = error.getClass().getSimpleName();
            }
            return Map.of("late", late, "stored", stored(place));
        }
    }

    static Object missingNamespace(Checks.Place place) throws Exception {
        return refusal(place.client().newProducer(Schema.STRING).topic("persistent://public/missing/t"));
    }

    static Object manyInFlight(Checks.Place place) throws Exception {
        List<CompletableFuture<MessageId>> sent = new ArrayList<>();
        try (Producer<String> producer =
                producer(place).blockIfQueueFull(true).create()) {
            for (int n = 0; n < 2000; n++) {
                sent.add(producer.sendAsync("m" + n));
            }
            producer.flush();
        }
        boolean grows = true;
        for (int n = 1; n < sent.size(); n++) {
            grows &= sent.get(n - 1).get().compareTo(sent.get(n).get()) < 0;
        }
        List<String> stored = stored(place);
        boolean ordered = stored.size() == 2000;
        for (int n = 0; ordered && n < 2000; n++) {
            ordered = stored.get(n).equals("m" + n);
        }
        return Map.of("idsGrow", grows, "ordered", ordered);
    }
}

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.ConsumerBuilder;
import org.apache.pulsar.client.api.DeadLetterPolicy;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;
import org.apache.pulsar.client.api.SubscriptionType;

/** Subscription types, positions and acknowledgements. */
final class Subscriptions {
    private Subscriptions() {}

    static void register(Map<String, Checks.Check> checks) {
        checks.put("keyShared", Subscriptions::keyShared);
        checks.put("failover", Subscriptions::failover);
        checks.put("exclusive", Subscriptions::exclusive);
        checks.put("seek", Subscriptions::seek);
        checks.put("negative", Subscriptions::negative);
        checks.put("timeout", Subscriptions::timeout);
        checks.put("deadLetter", Subscriptions::deadLetter);
        checks.put("retryLetter", Subscriptions::retryLetter);
        checks.put("receipts", Subscriptions::receipts);
        checks.put("pattern", Subscriptions::pattern);
        checks.put("partitions", Subscriptions::partitions);
        checks.put("delayed", Subscriptions::delayed);
        checks.put("unsubscribe", Subscriptions::unsubscribe);
    }

    static ConsumerBuilder<String> consumer(Checks.Place place, SubscriptionType type) {
        return place.client()
                .newConsumer(Schema.STRING)
                .topic(place.topic())
                .subscriptionName("s")
                .subscriptionType(type)
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest);
    }

    static List<MessageId> fill(Checks.Place place, int count) throws Exception {
        List<MessageId> ids = new ArrayList<>();
        try (Producer<String> producer = place.client()
                .newProducer(Schema.STRING)
                .topic(place.topic())
                .enableBatching(false)
                .create()) {
            for (int n = 0; n < count; n++) {
                ids.add(producer.newMessage().key("k" + n % 10).value("m" + n).send());
            }
        }
        return ids;
    }

    static List<String> drain(Consumer<String> consumer, int quietMs) throws Exception {
        return drain(consumer, 0, quietMs);
    }

    /** Waits longer for the first ones. */
    static List<String> drain(Consumer<String> consumer, int atLeast, int quietMs) throws Exception {
        List<String> got = new ArrayList<>();
        while (got.size() < atLeast) {
            Message<String> message = consumer.receive(8, TimeUnit.SECONDS);
            if (message == null) {
                return got;
            }
            consumer.acknowledge(message);
            got.add(message.getValue());
        }
        Message<String> message;
        while ((message = consumer.receive(quietMs, TimeUnit.MILLISECONDS)) != null) {
            consumer.acknowledge(message);
            got.add(message.getValue());
        }
        return got;
    }

    static Object keyShared(Checks.Place place) throws Exception {
        List<Consumer<String>> consumers = new ArrayList<>();
        for (int n = 0; n < 3; n++) {
            consumers.add(consumer(place, SubscriptionType.Key_Shared).subscribe());
        }
        fill(place, 100);
        Map<String, Set<Integer>> owners = new HashMap<>();
        Map<String, Integer> last = new HashMap<>();
        boolean ordered = true;
        int total = 0;
        for (int index = 0; index < 3; index++) {
            Message<String> message;
            while ((message = consumers.get(index).receive(800, TimeUnit.MILLISECONDS)) != null) {
                consumers.get(index).acknowledge(message);
                owners.computeIfAbsent(message.getKey(), key -> new HashSet<>()).add(index);
                int number = Integer.parseInt(message.getValue().substring(1));
                Integer before = last.put(message.getKey(), number);
                ordered &= before == null || before < number;
                total++;
            }
        }
        for (Consumer<String> consumer : consumers) {
            consumer.close();
        }
        int most = owners.values().stream().map(Set::size).max(Comparator.naturalOrder()).orElse(0);
        return Map.of("total", total, "ownersOfAKey", most, "ordered", ordered);
    }

    static Object failover(Checks.Place place) throws Exception {
        Consumer<String> one = consumer(place, SubscriptionType.Failover).consumerName("a").subscribe();
        Consumer<String> two = consumer(place, SubscriptionType.Failover).consumerName("b").subscribe();
        Thread.sleep(1300);
        fill(place, 10);
        List<String> first = drain(one, 1000);
        List<String> second = drain(two, 1000);
        Consumer<String> active = first.isEmpty() ? two : one;
        Consumer<String> passive = first.isEmpty() ? one : two;
        active.close();
        fill(place, 5);
        List<String> taken = drain(passive, 5, 300);
        passive.close();
        return Map.of("together", first.size() + second.size(), "alone", Math.max(first.size(), second.size()),
                "takenOver", taken.size());
    }

    static Object exclusive(Checks.Place place) throws Exception {
        try (Consumer<String> one = consumer(place, SubscriptionType.Exclusive).subscribe()) {
            consumer(place, SubscriptionType.Exclusive).subscribe().close();
            return "taken";
        } catch (PulsarClientException error) {
            return error.getClass().getSimpleName();
        }
    }

    static Object seek(Checks.Place place) throws Exception {
        List<MessageId> ids = fill(place, 5);
        Thread.sleep(20);
        long between = System.currentTimeMillis();
        fill(place, 3);
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Exclusive).subscribe()) {
            int all = drain(consumer, 8, 300).size();
            consumer.seek(ids.get(2));
            List<String> byId = drain(consumer, 5, 300);
            consumer.seek(between);
            List<String> byTime = drain(consumer, 3, 300);
            consumer.seek(MessageId.earliest);
            return Map.of("all", all, "byId", byId, "byTime", byTime, "again", drain(consumer, 8, 300).size());
        }
    }

    static Object negative(Checks.Place place) throws Exception {
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared)
                .negativeAckRedeliveryDelay(100, TimeUnit.MILLISECONDS)
                .subscribe()) {
            fill(place, 1);
            List<Integer> counts = new ArrayList<>();
            for (int n = 0; n < 3; n++) {
                Message<String> message = consumer.receive(8, TimeUnit.SECONDS);
                counts.add(message.getRedeliveryCount());
                consumer.negativeAcknowledge(message);
            }
            return counts;
        }
    }

    static Object timeout(Checks.Place place) throws Exception {
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared)
                .ackTimeout(1, TimeUnit.SECONDS)
                .ackTimeoutTickTime(200, TimeUnit.MILLISECONDS)
                .subscribe()) {
            fill(place, 1);
            consumer.receive(8, TimeUnit.SECONDS);
            Message<String> again = consumer.receive(8, TimeUnit.SECONDS);
            consumer.acknowledge(again);
            return Map.of("text", again.getValue(), "redeliveries", again.getRedeliveryCount());
        }
    }

    static Object deadLetter(Checks.Place place) throws Exception {
        DeadLetterPolicy policy = DeadLetterPolicy.builder()
                .maxRedeliverCount(2)
                .deadLetterTopic(place.topic() + "-dead")
                .initialSubscriptionName("later")
                .build();
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared)
                .negativeAckRedeliveryDelay(100, TimeUnit.MILLISECONDS)
                .deadLetterPolicy(policy)
                .subscribe()) {
            fill(place, 1);
            for (int n = 0; n < 3; n++) {
                consumer.negativeAcknowledge(consumer.receive(8, TimeUnit.SECONDS));
            }
            boolean over = consumer.receive(500, TimeUnit.MILLISECONDS) == null;
            try (Consumer<String> dead = place.client()
                    .newConsumer(Schema.STRING)
                    .topic(place.topic() + "-dead")
                    .subscriptionName("later")
                    .subscribe()) {
                return Map.of("over", over, "dead", dead.receive(8, TimeUnit.SECONDS).getValue());
            }
        }
    }

    static Object retryLetter(Checks.Place place) throws Exception {
        DeadLetterPolicy policy = DeadLetterPolicy.builder()
                .maxRedeliverCount(5)
                .retryLetterTopic(place.topic() + "-retry")
                .deadLetterTopic(place.topic() + "-dead")
                .build();
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared)
                .enableRetry(true)
                .deadLetterPolicy(policy)
                .subscribe()) {
            fill(place, 1);
            Message<String> first = consumer.receive(8, TimeUnit.SECONDS);
            consumer.reconsumeLater(first, 200, TimeUnit.MILLISECONDS);
            Message<String> again = consumer.receive(8, TimeUnit.SECONDS);
            consumer.acknowledge(again);
            return Map.of("text", again.getValue(), "times", again.getProperty("RECONSUMETIMES"));
        }
    }

    static Object receipts(Checks.Place place) throws Exception {
        Set<String> left;
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared)
                .isAckReceiptEnabled(true)
                .subscribe()) {
            fill(place, 10);
            for (int n = 0; n < 10; n++) {
                Message<String> message = consumer.receive(8, TimeUnit.SECONDS);
                if (n % 2 == 0) {
                    consumer.acknowledge(message);
                }
            }
        }
        try (Consumer<String> again = consumer(place, SubscriptionType.Shared).subscribe()) {
            left = new TreeSet<>(drain(again, 5, 300));
        }
        return left;
    }

    static Object pattern(Checks.Place place) throws Exception {
        String beginning = place.topic().replaceFirst("-pattern$", "-p");
        Pattern pattern = Pattern.compile(beginning + "-.*");
        try (Consumer<String> consumer = place.client()
                .newConsumer(Schema.STRING)
                .topicsPattern(pattern)
                .patternAutoDiscoveryPeriod(1, TimeUnit.SECONDS)
                .subscriptionName("s")
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest)
                .subscribe()) {
            fill(place.at(beginning + "-1"), 1);
            fill(place.at(beginning + "-2"), 1);
            fill(place.at(beginning + "x-3"), 1);
            Map<String, Integer> topics = new TreeMap<>();
            Message<String> message;
            while ((message = consumer.receive(topics.size() < 2 ? 8000 : 500, TimeUnit.MILLISECONDS)) != null) {
                topics.merge(message.getTopicName().substring(beginning.length()), 1, Integer::sum);
            }
            return topics;
        }
    }

    static Object partitions(Checks.Place place) throws Exception {
        place.admin().topics().createPartitionedTopic(place.topic(), 3);
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared).subscribe()) {
            fill(place, 60);
            Map<String, Set<String>> places = new HashMap<>();
            int total = 0;
            Message<String> message;
            while ((message = consumer.receive(total < 60 ? 8000 : 300, TimeUnit.MILLISECONDS)) != null) {
                places.computeIfAbsent(message.getKey(), key -> new HashSet<>()).add(message.getTopicName());
                total++;
            }
            int most = places.values().stream().map(Set::size).max(Comparator.naturalOrder()).orElse(0);
            return Map.of("total", total, "partitionsOfAKey", most,
                    "names", place.client().getPartitionsForTopic(place.topic()).get().size());
        }
    }

    static Object delayed(Checks.Place place) throws Exception {
        try (Consumer<String> consumer = consumer(place, SubscriptionType.Shared).subscribe();
                Producer<String> producer =
                        place.client().newProducer(Schema.STRING).topic(place.topic()).create()) {
            producer.newMessage().value("later").deliverAfter(1500, TimeUnit.MILLISECONDS).send();
            producer.newMessage().value("now").send();
            return List.of(
                    consumer.receive(8, TimeUnit.SECONDS).getValue(), consumer.receive(8, TimeUnit.SECONDS).getValue());
        }
    }

    static Object unsubscribe(Checks.Place place) throws Exception {
        Consumer<String> one = consumer(place, SubscriptionType.Shared).subscribe();
        Consumer<String> two = consumer(place, SubscriptionType.Shared).subscribe();
        String refused;
        try {
            one.unsubscribe();
            refused = "taken";
        } catch (PulsarClientException error) {
            refused = "refused";
        }
        two.close();
        one.unsubscribe();
        return Map.of("besideOthers", refused,
                "left", place.admin().topics().getSubscriptions(place.topic()));
    }
}

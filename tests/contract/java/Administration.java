import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.admin.PulsarAdmin;
import org.apache.pulsar.client.admin.PulsarAdminException;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.common.policies.data.RetentionPolicies;

/** The basics of the admin client. */
final class Administration {
    interface Call {
        Object run() throws Exception;
    }

    interface Action {
        void run() throws Exception;
    }

    private Administration() {}

    static void register(Map<String, Checks.Check> checks) {
        checks.put("topics", Administration::topics);
        checks.put("refusals", Administration::refusals);
        checks.put("subscriptions", Administration::subscriptions);
        checks.put("namespaces", Administration::namespaces);
        checks.put("stats", Administration::stats);
        checks.put("peek", Administration::peek);
    }

    /** The value, or the status of the refusal. */
    private static Object status(Call call) throws Exception {
        try {
            call.run();
            return 0;
        } catch (PulsarAdminException error) {
            return error.getStatusCode();
        }
    }

    private static Object done(Action action) throws Exception {
        action.run();
        return null;
    }

    static Object topics(Checks.Place place) throws Exception {
        PulsarAdmin admin = place.admin();
        admin.topics().createNonPartitionedTopic(place.topic());
        admin.topics().createPartitionedTopic(place.topic() + "-parts", 2);
        admin.topics().updatePartitionedTopic(place.topic() + "-parts", 4);
        List<String> listed = new ArrayList<>();
        for (String name : admin.topics().getList("public/default")) {
            if (name.startsWith(place.topic())) {
                listed.add(name.substring(place.topic().length()));
            }
        }
        listed.sort(null);
        int partitions = admin.topics().getPartitionedTopicMetadata(place.topic() + "-parts").partitions;
        admin.topics().deletePartitionedTopic(place.topic() + "-parts");
        admin.topics().unload(place.topic());
        admin.topics().delete(place.topic());
        return Map.of("listed", listed, "partitions", partitions);
    }

    static Object refusals(Checks.Place place) throws Exception {
        var topics = place.admin().topics();
        String topic = place.topic();
        String missing = topic + "-missing";
        topics.createNonPartitionedTopic(topic);
        Map<String, Object> seen = new TreeMap<>();
        seen.put("createTwice", status(() -> done(() -> topics.createNonPartitionedTopic(topic))));
        seen.put("deleteMissing", status(() -> done(() -> topics.delete(missing))));
        seen.put("statsMissing", status(() -> topics.getStats(missing)));
        seen.put("missingNamespace", status(() -> done(
                () -> topics.createNonPartitionedTopic("persistent://public/missing/t"))));
        seen.put("deleteMissingSubscription", status(() -> done(() -> topics.deleteSubscription(topic, "none"))));
        try (Consumer<byte[]> live =
                place.client().newConsumer().topic(topic).subscriptionName("s").subscribe()) {
            seen.put("deleteBusy", status(() -> done(() -> topics.delete(topic))));
            seen.put("deleteBusySubscription", status(() -> done(() -> topics.deleteSubscription(topic, "s"))));
            seen.put("createSubscriptionTwice",
                    status(() -> done(() -> topics.createSubscription(topic, "s", MessageId.earliest))));
        }
        return seen;
    }

    static Object subscriptions(Checks.Place place) throws Exception {
        var topics = place.admin().topics();
        topics.createNonPartitionedTopic(place.topic());
        topics.createSubscription(place.topic(), "made", MessageId.earliest);
        List<MessageId> ids = Subscriptions.fill(place, 10);
        long backlog = topics.getStats(place.topic()).getSubscriptions().get("made").getMsgBacklog();
        topics.skipMessages(place.topic(), "made", 4);
        long skipped = topics.getStats(place.topic()).getSubscriptions().get("made").getMsgBacklog();
        topics.resetCursor(place.topic(), "made", ids.get(7));
        List<String> left;
        try (Consumer<String> consumer = place.client()
                .newConsumer(Schema.STRING)
                .topic(place.topic())
                .subscriptionName("made")
                .subscriptionType(SubscriptionType.Shared)
                .subscribe()) {
            left = Subscriptions.drain(consumer, 3, 300);
        }
        topics.skipAllMessages(place.topic(), "made");
        topics.deleteSubscription(place.topic(), "made");
        return Map.of("backlog", backlog, "skipped", skipped, "left", left,
                "names", topics.getSubscriptions(place.topic()));
    }

    static Object namespaces(Checks.Place place) throws Exception {
        var namespaces = place.admin().namespaces();
        String name = "public/" + place.topic().substring(place.topic().lastIndexOf('/') + 1);
        namespaces.createNamespace(name);
        boolean listed = namespaces.getNamespaces("public").contains(name);
        Object unset = namespaces.getRetention(name);
        namespaces.setRetention(name, new RetentionPolicies(30, 50));
        RetentionPolicies set = namespaces.getRetention(name);
        namespaces.setDeduplicationStatus(name, true);
        Object twice = status(() -> done(() -> namespaces.createNamespace(name)));
        namespaces.deleteNamespace(name);
        Object gone = status(() -> namespaces.getTopics(name));
        return Map.of("listed", listed, "unset", unset == null, "minutes", set.getRetentionTimeInMinutes(),
                "size", set.getRetentionSizeInMB(), "twice", twice, "gone", gone);
    }

    static Object stats(Checks.Place place) throws Exception {
        try (Consumer<String> consumer = Subscriptions.consumer(place, SubscriptionType.Shared).subscribe()) {
            Subscriptions.fill(place, 5);
            for (int n = 0; n < 5; n++) {
                consumer.receive(8, TimeUnit.SECONDS);
            }
            var stats = place.admin().topics().getStats(place.topic());
            var one = stats.getSubscriptions().get("s");
            var internal = place.admin().topics().getInternalStats(place.topic());
            return Map.of("in", stats.getMsgInCounter(), "backlog", one.getMsgBacklog(), "unacked",
                    one.getUnackedMessages(), "type", one.getType(), "consumers", one.getConsumers().size(),
                    "entries", internal.numberOfEntries, "cursors", internal.cursors.keySet());
        }
    }

    static Object peek(Checks.Place place) throws Exception {
        Subscriptions.consumer(place, SubscriptionType.Shared).subscribe().close();
        List<MessageId> ids = Subscriptions.fill(place, 3);
        List<Message<byte[]>> found = place.admin().topics().peekMessages(place.topic(), "s", 2);
        List<String> texts = new ArrayList<>();
        for (Message<byte[]> message : found) {
            texts.add(new String(message.getData()));
        }
        return Map.of("texts", texts, "key", found.get(0).getKey());
    }
}

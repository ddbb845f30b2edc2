import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.admin.PulsarAdmin;
import org.apache.pulsar.client.api.PulsarClient;

/**
 * Uses a broker through the official Java clients and prints what it saw: one line of JSON for each
 * check, {"check": name, "seen": value} or {"check": name, "failed": exception}. What is right is
 * decided by the Python test that starts this.
 *
 * <p>Arguments: service URL, admin URL, prefix of topic names.
 */
public final class Checks {
    interface Check {
        Object run(Place place) throws Exception;
    }

    /** The clients of one run, and topics of each check's own. */
    record Place(PulsarClient client, PulsarAdmin admin, String url, String topic) {
        Place at(String other) {
            return new Place(client, admin, url, other);
        }
    }

    private static final long ALL_S = 90;

    private Checks() {}

    public static void main(String[] args) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        Messages.register(checks);
        Subscriptions.register(checks);
        Producers.register(checks);
        Administration.register(checks);
        ObjectMapper json = new ObjectMapper();
        ExecutorService threads = Executors.newFixedThreadPool(8, runnable -> {
            Thread thread = new Thread(runnable);
            thread.setDaemon(true);
            return thread;
        });
        try (PulsarClient client = PulsarClient.builder().serviceUrl(args[0]).build();
                PulsarAdmin admin = PulsarAdmin.builder().serviceHttpUrl(args[1]).build()) {
            for (Map.Entry<String, Check> entry : checks.entrySet()) {
                String topic = "persistent://public/default/" + args[2] + "-" + entry.getKey();
                Place place = new Place(client, admin, args[0], topic);
                threads.execute(() -> print(json, entry, place));
            }
            threads.shutdown();
            threads.awaitTermination(ALL_S, TimeUnit.SECONDS);
        }
        System.exit(0);
    }

    private static void print(ObjectMapper json, Map.Entry<String, Check> entry, Place place) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("check", entry.getKey());
        try {
            line.put("seen", entry.getValue().run(place));
        } catch (Throwable error) {
            line.put("failed", error.toString());
        }
        try {
            String text = json.writeValueAsString(line);
            synchronized (System.out) {
                System.out.println(text);
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }
}

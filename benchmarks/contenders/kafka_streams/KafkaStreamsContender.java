// Kafka Streams 4.4.0 (Java 17), exactly_once_v2 or at_least_once; the stages of BENCH_STAGE as one topology.
//
// Tuning, from the Streams developer guide ("Configuring a Streams Application", "Memory Management") and KIP-954:
// commit.interval.ms is its default with exactly-once (100 ms), 1 s without; large polls and batches; window state in
// memory behind the changelog, with the record cache left on, which keeps most updates of a window out of the changelog.
// Final results are suppress(untilWindowCloses) as in "Window Final Results". Tried, and no faster: Jackson's Blackbird
// (a slower start, too), windows in RocksDB, polls of 1,000.
// On one core the JVM chooses its serial collector itself; jvm.options has the rest.

import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.type.LogicalType;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Window;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

public final class KafkaStreamsContender {
    static final Map<String, String> ENV = System.getenv();
    static final String PREFIX = ENV.get("BENCH_PREFIX");
    static final String STAGE = ENV.get("BENCH_STAGE");

    static final JsonMapper JSON = JsonMapper.builder()
            .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
            .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
            .enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER)
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES, DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS) // "12.5" and true are no amounts
            .withCoercionConfig(LogicalType.Textual, text -> {
                for (var number : new CoercionInputShape[] {
                    CoercionInputShape.Integer, CoercionInputShape.Float, CoercionInputShape.Boolean
                }) text.setCoercion(number, CoercionAction.Fail);
            })
            .build();

    record Product(String productName, String category) {}

    record Order(
            String orderId, String userId, String productId, double amount, double timestamp,
            String productName, String category) {

        static final ObjectReader READER = JSON.readerFor(Order.class);
        static final Map<String, Product> CATALOGUE = catalogue();

        /** The order with its product's data, or null if it is not a valid one. */
        static Order validate(byte[] value) {
            Order order;
            try {
                order = READER.readValue(value);
            } catch (IOException | IllegalArgumentException notAnOrder) {
                return null;
            }
            if (order == null || isEmpty(order.orderId) || isEmpty(order.userId) || order.productId == null) return null;
            Product product = CATALOGUE.get(order.productId);
            boolean amountValid = order.amount > 0 && order.amount <= 1e6
                    && Math.rint(order.amount * 100) / 100 == order.amount;
            return product == null || !amountValid || !(order.timestamp >= 0)
                    ? null
                    : new Order(order.orderId, order.userId, order.productId, order.amount, order.timestamp,
                            product.productName, product.category);
        }

        private static boolean isEmpty(String id) {
            return id == null || id.isEmpty();
        }

        private static Map<String, Product> catalogue() {
            try {
                return JSON.readValue(new File(ENV.get("BENCH_CATALOGUE")), new TypeReference<>() {});
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    record ValidatedOrder(byte[] original, Order order) {}

    record Sums(long count, long cents) {
        Sums add(Order order) {
            return new Sums(count + 1, cents + Math.round(order.amount * 100));
        }

        Metric over(String productId, Window window) {
            return new Metric(window.start() / 1000, window.end() / 1000, productId, count, cents / 100.0,
                    Math.rint((double) cents / count) / 100);
        }
    }

    record Metric(long windowStart, long windowEnd, String productId, long orderCount, double totalRevenue,
            double avgOrderValue) {}

    static final Serde<Sums> SUMS = Serdes.serdeFrom(
            (topic, sums) -> sums == null ? null : ByteBuffer.allocate(16).putLong(sums.count).putLong(sums.cents).array(),
            (topic, bytes) -> bytes == null ? null : new Sums(ByteBuffer.wrap(bytes).getLong(0), ByteBuffer.wrap(bytes).getLong(8)));

    static <T> Serde<T> json(Class<T> type) {
        var reader = JSON.readerFor(type);
        var writer = JSON.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return writer.writeValueAsBytes(value);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return reader.readValue(bytes);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                });
    }

    static void processor(StreamsBuilder builder) {
        builder.stream(PREFIX + "orders", Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .mapValues(value -> new ValidatedOrder(value, Order.validate(value)))
                .split()
                .branch((key, validated) -> validated.order != null, Branched.withConsumer(valid -> valid
                        .map((key, validated) -> KeyValue.pair(validated.order.productId, validated.order))
                        .to(PREFIX + "processed-orders", Produced.with(Serdes.String(), json(Order.class)))))
                .defaultBranch(Branched.withConsumer(invalid -> invalid
                        .mapValues(ValidatedOrder::original)
                        .to(PREFIX + "orders-dlq", Produced.with(Serdes.ByteArray(), Serdes.ByteArray()))));
    }

    static void analytics(StreamsBuilder builder) {
        var grace = Duration.ofSeconds(Long.parseLong(ENV.get("BENCH_GRACE_S")));
        var orders = Consumed.with(Serdes.String(), json(Order.class))
                .withTimestampExtractor((record, partitionTime) -> (long) (((Order) record.value()).timestamp * 1000));
        builder.stream(PREFIX + "processed-orders", orders)
                .groupByKey(Grouped.with(Serdes.String(), json(Order.class)))
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), grace))
                .aggregate(() -> new Sums(0, 0), (product, order, sums) -> sums.add(order),
                        Materialized.with(Serdes.String(), SUMS))
                .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                .toStream()
                .map((product, sums) -> KeyValue.pair(product.key(), sums.over(product.key(), product.window())))
                .to(PREFIX + "product-metrics", Produced.with(Serdes.String(), json(Metric.class)));
    }

    static Properties settings() {
        boolean exactlyOnce = ENV.get("BENCH_GUARANTEE").equals("eos");
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, PREFIX + "kafka-streams-" + STAGE);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, ENV.get("BENCH_BOOTSTRAP"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, ENV.get("BENCH_STATE_DIR"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, ENV.get("BENCH_THREADS"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, exactlyOnce ? 100 : 1000);
        settings.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 10_000);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
        return settings;
    }

    public static void main(String[] arguments) {
        var builder = new StreamsBuilder();
        if (!STAGE.equals("analytics")) processor(builder);
        if (!STAGE.equals("processor")) analytics(builder);
        var streams = new KafkaStreams(builder.build(), settings());
        streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.REPLACE_THREAD);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(8));
            Runtime.getRuntime().halt(0); // or else it is 143 after SIGTERM
        }));
        streams.start();
    }
}

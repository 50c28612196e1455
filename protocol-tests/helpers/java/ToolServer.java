import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.apache.kafka.common.utils.Exit;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PipedInputStream;
import java.io.PipedOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs Apache Kafka's own command-line tools, unchanged, in one JVM, and so helper programs written in Java: a start of a JVM
 * for each would cost more than all the tests together. Every tool runs in a thread of its own with its own standard
 * streams, its own classes and its own exit.
 *
 * In, one JSON line each:   {"id":1,"class":"org.apache.kafka.tools.TopicCommand","args":[…],"stdin":"FILE"}   {"id":1,"stop":true}
 *                           {"id":2,"class":"KafkaClients","args":["member",…],"stdin":"live"}   {"id":2,"in":"commit"}
 * Out, one JSON line each:  {"id":1,"out":"a line"}   {"id":1,"err":"a line"}   {"id":1,"exit":0}
 *
 * A live standard input is what `in` brings, line by line, until the stop; without any it is empty. A stop runs the shutdown hooks that
 * the tool registered, as SIGTERM would; so does its end.
 */
public final class ToolServer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String LIVE = "live";
    private static final PrintStream REAL_OUT = System.out;
    private static final PrintStream REAL_ERR = System.err;
    private static final Map<Integer, Tool> RUNNING = new ConcurrentHashMap<>();
    private static final InheritableThreadLocal<Tool> CURRENT = new InheritableThreadLocal<>();

    /** Unwinds a tool's thread where the tool meant to end the process. */
    private static final class ToolExit extends Error {
        ToolExit() {
            super("exit", null, false, false);
        }
    }

    private static final class Tool {
        final int id;
        final InputStream in;
        /** What feeds `in`; null when a file does. */
        final PipedOutputStream feed;
        final Lines outLines;
        final Lines errLines;
        final PrintStream out;
        final PrintStream err;
        final List<Runnable> hooks = new ArrayList<>();
        Integer exit;

        Tool(int id, InputStream in, PipedOutputStream feed) {
            this.id = id;
            this.in = in;
            this.feed = feed;
            this.outLines = new Lines(id, "out");
            this.errLines = new Lines(id, "err");
            this.out = new PrintStream(outLines, false, StandardCharsets.UTF_8);
            this.err = new PrintStream(errLines, false, StandardCharsets.UTF_8);
        }

        /** What the end of a process does: the console producer, for one, sends its last records there. */
        void runHooks() {
            List<Runnable> due;
            synchronized (hooks) {
                due = List.copyOf(hooks);
                hooks.clear();
            }
            due.forEach(Runnable::run);
        }

        void feed(String line) throws IOException {
            feed.write((line + "\n").getBytes(StandardCharsets.UTF_8));
            feed.flush();
        }

        void end(int code) {
            if (exit == null) exit = code;
            throw new ToolExit();
        }
    }

    /** Turns what a tool prints into one event a line. */
    private static final class Lines extends OutputStream {
        private final int id;
        private final String stream;
        private final ByteArrayOutputStream line = new ByteArrayOutputStream();

        Lines(int id, String stream) {
            this.id = id;
            this.stream = stream;
        }

        @Override
        public synchronized void write(int b) {
            if (b == '\n') emit();
            else line.write(b);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int length) {
            for (int i = from; i < from + length; i++) write(bytes[i]);
        }

        private void emit() {
            String text = line.toString(StandardCharsets.UTF_8);
            line.reset();
            say(id, stream, text);
        }

        synchronized void end() {
            if (line.size() > 0) emit();
        }
    }

    /** Loads a tool's own classes anew for each run: they keep counters in static fields, as a process of its own may. */
    private static final class ToolClasses extends ClassLoader {
        private static final String OWN = "org.apache.kafka.tools.";

        ToolClasses() {
            super(ToolServer.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (!name.startsWith(OWN)) return super.loadClass(name, resolve);
            synchronized (getClassLoadingLock(name)) {
                Class<?> known = findLoadedClass(name);
                return known != null ? known : define(name);
            }
        }

        private Class<?> define(String name) throws ClassNotFoundException {
            try (InputStream in = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
                if (in == null) throw new ClassNotFoundException(name);
                byte[] bytes = in.readAllBytes();
                return defineClass(name, bytes, 0, bytes.length);
            } catch (IOException e) {
                throw new ClassNotFoundException(name, e);
            }
        }
    }

    private static void say(int id, String name, Object value) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("id", id);
        event.put(name, value);
        try {
            byte[] bytes = (JSON.writeValueAsString(event) + "\n").getBytes(StandardCharsets.UTF_8);
            synchronized (REAL_OUT) {
                REAL_OUT.write(bytes, 0, bytes.length);
                REAL_OUT.flush();
            }
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void run(Tool tool, String className, String[] args) {
        CURRENT.set(tool);
        ClassLoader classes = new ToolClasses();
        Thread.currentThread().setContextClassLoader(classes);
        try {
            Class.forName(className, true, classes).getMethod("main", String[].class).invoke(null, (Object) args);
            if (tool.exit == null) tool.exit = 0;
        } catch (InvocationTargetException e) {
            if (tool.exit == null) {
                tool.exit = 1;
                e.getCause().printStackTrace(tool.err);
            }
        } catch (ReflectiveOperationException e) {
            tool.exit = 1;
            e.printStackTrace(tool.err);
        }
        finish(tool);
    }

    private static void finish(Tool tool) {
        tool.runHooks();
        tool.out.flush();
        tool.err.flush();
        tool.outLines.end();
        tool.errLines.end();
        RUNNING.remove(tool.id);
        say(tool.id, "exit", tool.exit);
    }

    private static void stop(Tool tool) throws IOException {
        if (tool == null) return;
        if (tool.feed != null) tool.feed.close();
        new Thread(tool::runHooks).start();
    }

    private static Tool toolFor(JsonNode request) throws IOException {
        int id = request.get("id").asInt();
        String stdin = request.path("stdin").asText("");
        if (stdin.equals(LIVE)) {
            PipedOutputStream feed = new PipedOutputStream();
            return new Tool(id, new PipedInputStream(feed), feed);
        }
        byte[] input = stdin.isEmpty() ? new byte[0] : Files.readAllBytes(Path.of(stdin));
        return new Tool(id, new ByteArrayInputStream(input), null);
    }

    private static void start(JsonNode request) throws IOException {
        Tool tool = toolFor(request);
        List<String> args = new ArrayList<>();
        request.get("args").forEach(arg -> args.add(arg.asText()));
        RUNNING.put(tool.id, tool);
        String className = request.get("class").asText();
        new Thread(() -> run(tool, className, args.toArray(String[]::new)), "tool-" + tool.id).start();
    }

    private static PrintStream dispatching(boolean toOut) {
        return new PrintStream(new OutputStream() {
            private PrintStream target() {
                Tool tool = CURRENT.get();
                return tool == null ? REAL_ERR : toOut ? tool.out : tool.err;
            }

            @Override
            public void write(int b) {
                target().write(b);
            }

            @Override
            public void write(byte[] bytes, int from, int length) {
                target().write(bytes, from, length);
            }

            @Override
            public void flush() {
                target().flush();
            }
        }, true, StandardCharsets.UTF_8);
    }

    private static InputStream dispatchingInput() {
        return new InputStream() {
            @Override
            public int read() throws IOException {
                return CURRENT.get().in.read();
            }

            @Override
            public int read(byte[] bytes, int from, int length) throws IOException {
                return CURRENT.get().in.read(bytes, from, length);
            }
        };
    }

    public static void main(String[] ignored) throws IOException {
        InputStream realIn = System.in;
        System.setOut(dispatching(true));
        System.setErr(dispatching(false));
        System.setIn(dispatchingInput());
        Exit.setExitProcedure((code, message) -> CURRENT.get().end(code));
        Exit.setHaltProcedure((code, message) -> CURRENT.get().end(code));
        Exit.setShutdownHookAdder((name, hook) -> {
            Tool tool = CURRENT.get();
            synchronized (tool.hooks) {
                tool.hooks.add(hook);
            }
        });
        BufferedReader requests = new BufferedReader(new InputStreamReader(realIn, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = JSON.readTree(line);
            Tool running = RUNNING.get(request.get("id").asInt());
            if (request.has("stop")) stop(running);
            else if (!request.has("in")) start(request);
            else if (running != null) running.feed(request.get("in").asText());
        }
        Runtime.getRuntime().halt(0);
    }
}

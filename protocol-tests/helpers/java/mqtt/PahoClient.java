/** What is asked of Eclipse's client, whatever the version. Every call waits for its answer. */
interface PahoClient {
    /** A clean one forgets what it had subscribed to. Whether there was something to remember. */
    boolean connect(boolean clean) throws Exception;

    /** What was granted to each filter. */
    int[] subscribe(String[] filters, int[] qos) throws Exception;

    void publish(String topic, String payload, int qos, boolean retained) throws Exception;

    void disconnect() throws Exception;

    /** The connection ends without goodbye. */
    void drop() throws Exception;

    record Will(String topic, String payload) {}

    interface Listener {
        void message(String topic, byte[] payload, int qos, boolean retained);
    }
}

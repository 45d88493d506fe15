import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONWriter;
import com.alibaba.otter.canal.client.CanalConnector;
import com.alibaba.otter.canal.client.CanalConnectors;
import com.alibaba.otter.canal.client.impl.ClusterCanalConnector;
import com.alibaba.otter.canal.client.impl.SimpleCanalConnector;
import com.alibaba.otter.canal.protocol.CanalEntry;
import com.alibaba.otter.canal.protocol.Message;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Does with canal's own client what it is told, a line for each call on standard input, and says what came of it, a line of JSON for each:
 *
 * <pre>
 * simple HOST:PORT DESTINATION USER PASSWORD     a connector; "-" stands for an empty text
 * cluster HOST:PORT,... DESTINATION USER PASSWORD
 * zookeeper SERVERS DESTINATION USER PASSWORD    a cluster connector that finds servers in an ensemble; a chroot stands behind the last
 * timeout MS | lazy true | retry TIMES MS        of the connector
 * connect | subscribe FILTER | unsubscribe | disconnect
 * get SIZE [MS]                                  acknowledges
 * getWithoutAck SIZE [MS]
 * keys SIZE [MS]                                 getWithoutAck, of which only the first column of each row is given
 * drain ROWS                                     gets and acknowledges without a look at the rows, until there were so many
 * ack ID | rollback | rollback ID
 * </pre>
 */
public class Client {
    private static CanalConnector connector;

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        System.setOut(System.err); // whatever else prints
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> answer = new LinkedHashMap<>();
            try {
                run(line.split(" "), answer);
            } catch (Throwable e) {
                StringBuilder text = new StringBuilder();
                for (Throwable t = e; t != null && t != t.getCause(); t = t.getCause()) {
                    text.append(t).append('\n');
                }
                answer.put("error", text.toString());
            }
            out.println(JSON.toJSONString(answer, JSONWriter.Feature.WriteNulls));
            out.flush();
        }
    }

    private static String text(String word) {
        return word.equals("-") ? "" : word;
    }

    private static SocketAddress address(String word) {
        String[] parts = word.split(":");
        return new InetSocketAddress(parts[0], Integer.parseInt(parts[1]));
    }

    private static void run(String[] words, Map<String, Object> answer) throws Exception {
        switch (words[0]) {
            case "simple":
                connector = CanalConnectors.newSingleConnector(address(words[1]), words[2], text(words[3]), text(words[4]));
                break;
            case "cluster": {
                List<SocketAddress> all = new ArrayList<>();
                for (String word : words[1].split(",")) {
                    all.add(address(word));
                }
                connector = CanalConnectors.newClusterConnector(all, words[2], text(words[3]), text(words[4]));
                break;
            }
            case "zookeeper":
                connector = CanalConnectors.newClusterConnector(words[1], words[2], text(words[3]), text(words[4]));
                break;
            case "timeout":
                if (connector instanceof SimpleCanalConnector) {
                    ((SimpleCanalConnector) connector).setSoTimeout(Integer.parseInt(words[1]));
                    ((SimpleCanalConnector) connector).setIdleTimeout(Integer.parseInt(words[1]));
                } else {
                    ((ClusterCanalConnector) connector).setSoTimeout(Integer.parseInt(words[1]));
                }
                break;
            case "lazy":
                ((SimpleCanalConnector) connector).setLazyParseEntry(Boolean.parseBoolean(words[1]));
                break;
            case "retry":
                ((ClusterCanalConnector) connector).setRetryTimes(Integer.parseInt(words[1]));
                ((ClusterCanalConnector) connector).setRetryInterval(Integer.parseInt(words[2]));
                break;
            case "connect":
                connector.connect();
                break;
            case "disconnect":
                connector.disconnect();
                break;
            case "subscribe":
                connector.subscribe(text(words[1]));
                break;
            case "unsubscribe":
                connector.unsubscribe();
                break;
            case "get":
                put(answer, words.length > 2
                    ? connector.get(Integer.parseInt(words[1]), Long.parseLong(words[2]), TimeUnit.MILLISECONDS)
                    : connector.get(Integer.parseInt(words[1])));
                break;
            case "getWithoutAck":
                put(answer, take(words));
                break;
            case "keys":
                keys(answer, take(words));
                break;
            case "drain":
                drain(answer, Long.parseLong(words[1]));
                break;
            case "ack":
                connector.ack(Long.parseLong(words[1]));
                break;
            case "rollback":
                if (words.length > 1) {
                    connector.rollback(Long.parseLong(words[1]));
                } else {
                    connector.rollback();
                }
                break;
            default:
                throw new IllegalArgumentException("unknown command " + words[0]);
        }
    }

    private static Message take(String[] words) {
        return words.length > 2
            ? connector.getWithoutAck(Integer.parseInt(words[1]), Long.parseLong(words[2]), TimeUnit.MILLISECONDS)
            : connector.getWithoutAck(Integer.parseInt(words[1]));
    }

    private static List<CanalEntry.Entry> entries(Message m) throws Exception {
        if (!m.isRaw()) {
            return m.getEntries();
        }
        List<CanalEntry.Entry> all = new ArrayList<>();
        for (com.google.protobuf.ByteString raw : m.getRawEntries()) {
            all.add(CanalEntry.Entry.parseFrom(raw));
        }
        return all;
    }

    private static void keys(Map<String, Object> answer, Message m) throws Exception {
        List<String> all = new ArrayList<>();
        int bytes = 0;
        for (CanalEntry.Entry e : entries(m)) {
            bytes += e.getSerializedSize();
            if (e.getEntryType() != CanalEntry.EntryType.ROWDATA) {
                continue;
            }
            for (CanalEntry.RowData row : CanalEntry.RowChange.parseFrom(e.getStoreValue()).getRowDatasList()) {
                all.add((row.getAfterColumnsCount() > 0 ? row.getAfterColumns(0) : row.getBeforeColumns(0)).getValue());
            }
        }
        answer.put("id", m.getId());
        answer.put("count", m.isRaw() ? m.getRawEntries().size() : m.getEntries().size());
        answer.put("bytes", bytes);
        answer.put("keys", all);
    }

    private static void drain(Map<String, Object> answer, long rows) throws Exception {
        long began = System.nanoTime(), seen = 0, bytes = 0;
        while (seen < rows) {
            Message m = connector.getWithoutAck(4096, 1000L, TimeUnit.MILLISECONDS);
            for (CanalEntry.Entry e : entries(m)) {
                bytes += e.getSerializedSize();
                for (CanalEntry.Pair p : e.getHeader().getPropsList()) {
                    if (p.getKey().equals("rowsCount")) {
                        seen += Long.parseLong(p.getValue());
                    }
                }
            }
            if (m.getId() != -1) {
                connector.ack(m.getId());
            }
        }
        answer.put("rows", seen);
        answer.put("bytes", bytes);
        answer.put("ms", (System.nanoTime() - began) / 1_000_000);
    }

    private static void put(Map<String, Object> answer, Message m) throws Exception {
        answer.put("id", m.getId());
        List<Object> all = new ArrayList<>();
        for (CanalEntry.Entry e : entries(m)) {
            all.add(entry(e));
        }
        answer.put("entries", all);
    }

    private static Map<String, Object> entry(CanalEntry.Entry e) throws Exception {
        Map<String, Object> out = new LinkedHashMap<>();
        CanalEntry.Header h = e.getHeader();
        Map<String, Object> header = new LinkedHashMap<>();
        header.put("version", h.getVersion());
        header.put("logfileName", h.getLogfileName());
        header.put("logfileOffset", h.getLogfileOffset());
        header.put("serverId", h.getServerId());
        header.put("serverenCode", h.getServerenCode());
        header.put("executeTime", h.getExecuteTime());
        header.put("sourceType", h.getSourceType().name());
        header.put("schemaName", h.getSchemaName());
        header.put("tableName", h.getTableName());
        header.put("eventLength", h.getEventLength());
        header.put("eventType", h.hasEventType() ? h.getEventType().name() : null);
        header.put("gtid", h.hasGtid() ? h.getGtid() : null);
        header.put("props", props(h.getPropsList()));
        out.put("header", header);
        out.put("entryType", e.getEntryType().name());
        switch (e.getEntryType()) {
            case TRANSACTIONBEGIN: {
                CanalEntry.TransactionBegin b = CanalEntry.TransactionBegin.parseFrom(e.getStoreValue());
                out.put("threadId", b.getThreadId());
                out.put("transactionId", b.getTransactionId());
                out.put("props", props(b.getPropsList()));
                break;
            }
            case TRANSACTIONEND: {
                CanalEntry.TransactionEnd x = CanalEntry.TransactionEnd.parseFrom(e.getStoreValue());
                out.put("transactionId", x.getTransactionId());
                out.put("props", props(x.getPropsList()));
                break;
            }
            case ROWDATA: {
                CanalEntry.RowChange c = CanalEntry.RowChange.parseFrom(e.getStoreValue());
                out.put("tableId", c.hasTableId() ? c.getTableId() : null);
                out.put("eventType", c.getEventType().name());
                out.put("isDdl", c.hasIsDdl() ? c.getIsDdl() : null);
                out.put("sql", c.hasSql() ? c.getSql() : null);
                out.put("ddlSchemaName", c.hasDdlSchemaName() ? c.getDdlSchemaName() : null);
                out.put("props", props(c.getPropsList()));
                List<Object> rows = new ArrayList<>();
                for (CanalEntry.RowData row : c.getRowDatasList()) {
                    Map<String, Object> r = new LinkedHashMap<>();
                    r.put("before", columns(row.getBeforeColumnsList()));
                    r.put("after", columns(row.getAfterColumnsList()));
                    rows.add(r);
                }
                out.put("rows", rows);
                break;
            }
            default:
                break;
        }
        return out;
    }

    private static List<String> props(List<CanalEntry.Pair> pairs) {
        List<String> out = new ArrayList<>();
        for (CanalEntry.Pair p : pairs) {
            out.add(p.getKey() + "=" + p.getValue());
        }
        return out;
    }

    private static List<Object> columns(List<CanalEntry.Column> all) {
        List<Object> out = new ArrayList<>();
        for (CanalEntry.Column c : all) {
            Map<String, Object> m = new LinkedHashMap<>();
            m.put("index", c.hasIndex() ? c.getIndex() : null);
            m.put("sqlType", c.getSqlType());
            m.put("name", c.getName());
            m.put("isKey", c.hasIsKey() ? c.getIsKey() : null);
            m.put("updated", c.hasUpdated() ? c.getUpdated() : null);
            m.put("isNull", c.hasIsNull() ? c.getIsNull() : null);
            m.put("value", c.hasValue() ? c.getValue() : null);
            m.put("length", c.hasLength() ? c.getLength() : null);
            m.put("mysqlType", c.getMysqlType());
            m.put("props", c.getPropsCount());
            out.add(m);
        }
        return out;
    }
}

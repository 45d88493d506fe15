import com.alibaba.otter.canal.common.alarm.LogAlarmHandler;
import com.alibaba.otter.canal.common.zookeeper.ZkClientx;
import com.alibaba.otter.canal.common.zookeeper.ZookeeperPathUtils;
import com.alibaba.otter.canal.common.zookeeper.running.ServerRunningData;
import com.alibaba.otter.canal.common.zookeeper.running.ServerRunningListener;
import com.alibaba.otter.canal.common.zookeeper.running.ServerRunningMonitor;
import com.alibaba.otter.canal.common.zookeeper.running.ServerRunningMonitors;
import com.alibaba.otter.canal.filter.aviater.AviaterRegexFilter;
import com.alibaba.otter.canal.instance.spring.CanalInstanceWithSpring;
import com.alibaba.otter.canal.meta.PeriodMixedMetaManager;
import com.alibaba.otter.canal.meta.ZooKeeperMetaManager;
import com.alibaba.otter.canal.parse.ha.HeartBeatHAController;
import com.alibaba.otter.canal.parse.inbound.mysql.MysqlEventParser;
import com.alibaba.otter.canal.parse.index.FailbackLogPositionManager;
import com.alibaba.otter.canal.parse.index.MemoryLogPositionManager;
import com.alibaba.otter.canal.parse.index.MetaLogPositionManager;
import com.alibaba.otter.canal.parse.support.AuthenticationInfo;
import com.alibaba.otter.canal.protocol.CanalEntry;
import com.alibaba.otter.canal.protocol.ClientIdentity;
import com.alibaba.otter.canal.protocol.Message;
import com.alibaba.otter.canal.protocol.position.EntryPosition;
import com.alibaba.otter.canal.server.embedded.CanalServerWithEmbedded;
import com.alibaba.otter.canal.server.netty.CanalServerWithNetty;
import com.alibaba.otter.canal.sink.entry.EntryEventSink;
import com.alibaba.otter.canal.store.memory.MemoryEventStoreWithBuffer;
import com.alibaba.otter.canal.store.model.BatchMode;
import com.google.protobuf.ByteString;
import java.net.InetSocketAddress;
import java.util.Collections;

/**
 * The classes of canal's server, put together as its deployer does with default-instance.xml, for one destination. Client 1001 reads in
 * the same process and prints "ROW ID" for each row that is inserted, before it acknowledges.
 *
 * Arguments: ZOOKEEPER DESTINATION PORT MYSQL_HOST MYSQL_PORT USER PASSWORD TABLES(regular expression) FILE OFFSET. With one more, nobody reads.
 */
public class CanalServer {
    static final short CLIENT = 1001;

    public static void main(String[] args) throws Exception {
        String destination = args[1], address = "127.0.0.1:" + args[2];
        ZkClientx zk = ZkClientx.getZkClient(args[0]);
        CanalServerWithEmbedded embedded = CanalServerWithEmbedded.instance();
        embedded.setCanalInstanceGenerator(name -> instance(name, zk, args));
        ServerRunningData data = new ServerRunningData(address);
        ServerRunningMonitors.setServerData(data);
        ServerRunningMonitor monitor = new ServerRunningMonitor(data);
        monitor.setDestination(destination);
        monitor.setZkClient(zk);
        monitor.setListener(new ServerRunningListener() {
            public void processStart() {
                zk.createPersistent(ZookeeperPathUtils.getDestinationClusterRoot(destination), true);
                zk.createEphemeral(ZookeeperPathUtils.getDestinationClusterNode(destination, address));
            }

            public void processStop() {}

            public void processActiveEnter() {
                embedded.start(destination);
                if (args.length == 10) {
                    Thread reader = new Thread(() -> read(embedded, destination));
                    reader.setDaemon(true);
                    reader.start();
                }
                System.out.println("ACTIVE");
            }

            public void processActiveExit() {
                embedded.stop(destination);
                System.out.println("PASSIVE");
            }
        });
        ServerRunningMonitors.setRunningMonitors(Collections.singletonMap(destination, monitor));
        embedded.start();
        CanalServerWithNetty netty = CanalServerWithNetty.instance();
        netty.setIp("127.0.0.1");
        netty.setPort(Integer.parseInt(args[2]));
        netty.setEmbeddedServer(embedded);
        netty.start();
        monitor.start();
        Runtime.getRuntime().addShutdownHook(new Thread(monitor::stop));
        System.out.println("STARTED");
        Thread.currentThread().join();
    }

    static CanalInstanceWithSpring instance(String destination, ZkClientx zk, String[] args) {
        ZooKeeperMetaManager nodes = new ZooKeeperMetaManager();
        nodes.setZkClientx(zk);
        PeriodMixedMetaManager meta = new PeriodMixedMetaManager();
        meta.setZooKeeperMetaManager(nodes);
        MemoryEventStoreWithBuffer store = new MemoryEventStoreWithBuffer();
        store.setBufferSize(16384);
        store.setBatchMode(BatchMode.MEMSIZE);
        store.setRaw(true);
        EntryEventSink sink = new EntryEventSink();
        sink.setEventStore(store);
        LogAlarmHandler alarm = new LogAlarmHandler();
        MysqlEventParser parser = new MysqlEventParser();
        parser.setDestination(destination);
        parser.setSlaveId(Integer.parseInt(args[2]));
        parser.setDetectingEnable(false);
        parser.setHaController(new HeartBeatHAController());
        parser.setAlarmHandler(alarm);
        parser.setEventSink(sink);
        parser.setEventFilter(new AviaterRegexFilter(args[7]));
        parser.setConnectionCharset("UTF-8");
        parser.setParallel(false);
        parser.setMasterInfo(new AuthenticationInfo(new InetSocketAddress(args[3], Integer.parseInt(args[4])), args[5], args[6], "mysql"));
        parser.setMasterPosition(new EntryPosition(args[8], Long.parseLong(args[9])));
        parser.setLogPositionManager(new FailbackLogPositionManager(new MemoryLogPositionManager(), new MetaLogPositionManager(meta)));
        CanalInstanceWithSpring instance = new CanalInstanceWithSpring();
        instance.setDestination(destination);
        instance.setAlarmHandler(alarm);
        instance.setMetaManager(meta);
        instance.setEventStore(store);
        instance.setEventSink(sink);
        instance.setEventParser(parser);
        return instance;
    }

    static void read(CanalServerWithEmbedded embedded, String destination) {
        ClientIdentity client = new ClientIdentity(destination, CLIENT);
        try {
            embedded.subscribe(client);
            embedded.rollback(client);
            while (embedded.isStart(destination)) {
                Message message = embedded.getWithoutAck(client, 100);
                if (message.getId() == -1) {
                    Thread.sleep(20);
                    continue;
                }
                if (message.isRaw()) {
                    for (ByteString entry : message.getRawEntries()) {
                        print(CanalEntry.Entry.parseFrom(entry));
                    }
                } else {
                    for (CanalEntry.Entry entry : message.getEntries()) {
                        print(entry);
                    }
                }
                embedded.ack(client, message.getId());
            }
        } catch (Exception e) {
            System.out.println("READER " + e);
        }
    }

    static void print(CanalEntry.Entry entry) throws Exception {
        if (entry.getEntryType() != CanalEntry.EntryType.ROWDATA) {
            return;
        }
        for (CanalEntry.RowData row : CanalEntry.RowChange.parseFrom(entry.getStoreValue()).getRowDatasList()) {
            if (row.getAfterColumnsCount() > 0) {
                System.out.println("ROW " + row.getAfterColumns(0).getValue());
            }
        }
    }
}

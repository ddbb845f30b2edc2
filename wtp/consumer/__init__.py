"""Reading a room's objects from the broker: joining, counting, measuring, handing them on.

    topic -> join -> read -> count and measure -> bounded queue -> output

`run.Consumer` is the role; everything beside it knows neither the loop's tasks nor the terminal.
"""

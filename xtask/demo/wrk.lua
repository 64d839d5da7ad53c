-- Each connection asks for a page, then waits: a load, not a flood.
function request()
    return wrk.format("GET", "/item/" .. math.random(1, 10000))
end

function delay()
    return 40
end
